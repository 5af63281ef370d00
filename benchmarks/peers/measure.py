"""Interleaved timing of variants that compute the same thing: A B C A B C ..., medians of rounds, one JSON object a line."""
import json
import statistics
import sys
import time

import torch

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
# A rehearsal without a GPU calls the CPU library, which computes in fp32.
DTYPE = torch.bfloat16 if CUDA else torch.float32
FTC_DTYPE = 1 if CUDA else 0  # FTC_BF16, FTC_F32; the same numbers name the weight formats


def synchronize():
    if CUDA:
        torch.cuda.synchronize()


wrong = []  # rows whose numbers are further from the reference than bf16's rounding explains


def emit(**row):
    if row.get("rms_error", 0) > 0.02 or row.get("bit_equal_to_torch") is False:
        wrong.append(row)
        row["status"] = "wrong"
    print(json.dumps(row), flush=True)


def finish():
    """Ends the program; 1 when a result was wrong."""
    sys.exit(1 if wrong else 0)


class Absent(Exception):
    """A variant that cannot run here; its text says why."""


def random(*shape, scale=1.0, dtype=DTYPE, seed=0):
    generator = torch.Generator(device=DEVICE).manual_seed(seed)
    return (torch.randn(*shape, generator=generator, device=DEVICE) * scale).to(dtype)


def once(body, calls):
    synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        body()
    synchronize()
    return (time.perf_counter() - start) / calls


def compare(case, variants, rounds=7, slice_seconds=0.05, flops=0, bytes=0, **extra):
    """Times every variant (name -> callable, or an Absent) in turn, `rounds` times, each for about slice_seconds a round.

    Wall time around enough calls to make the launch of one negligible; everything has run once before. Returns name -> median
    seconds and prints a row each, with peak memory of a call beyond what stood before.
    """
    ready, calls, peak = {}, {}, {}
    for name, body in variants.items():
        try:
            if isinstance(body, Exception):
                raise body
            if CUDA:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            body()
            synchronize()
            peak[name] = torch.cuda.max_memory_allocated() - before if CUDA else None
            calls[name] = max(1, int(slice_seconds / max(once(body, 3 if CUDA else 1), 1e-7)))
            ready[name] = body
        except Exception as error:  # a peer that fails is a row that says so, not the end of the run
            emit(case=case, variant=name, status="absent" if isinstance(error, Absent) else "failed", message=f"{type(error).__name__}: {error}"[:400], **extra)
    times = {name: [] for name in ready}
    for _ in range(rounds):
        for name, body in ready.items():
            times[name].append(once(body, calls[name]))
    medians = {name: statistics.median(t) for name, t in times.items()}
    for name, t in times.items():
        row = dict(case=case, variant=name, us=round(1e6 * medians[name], 2), us_min=round(1e6 * min(t), 2), us_max=round(1e6 * max(t), 2),
                   peak_mib=None if peak[name] is None else round(peak[name] / 2**20, 1), **extra)
        if flops:
            row["tflop_per_s"] = round(flops / medians[name] * 1e-12, 2)
        if bytes:
            row["gb_per_s"] = round(bytes / medians[name] * 1e-9, 1)
        emit(**row)
    return medians


def error_against(reference, value):
    """Largest and root-mean-square difference, as shares of the reference's root mean square."""
    difference = (value.double() - reference.double()).abs()
    size = reference.double().pow(2).mean().sqrt()
    return dict(max_error=round((difference.max() / size).item(), 6), rms_error=round((difference.pow(2).mean().sqrt() / size).item(), 6))


def tiny():
    """A rehearsal on small shapes: no GPU needed, times mean nothing."""
    return "--tiny" in sys.argv


def environment():
    row = dict(case="environment", torch=torch.__version__, device=torch.cuda.get_device_name() if CUDA else "cpu", tiny=tiny())
    for module in ("triton", "transformers", "peft"):
        try:
            row[module] = __import__(module).__version__
        except Exception as error:
            row[module] = f"absent ({type(error).__name__})"
    emit(**row)
