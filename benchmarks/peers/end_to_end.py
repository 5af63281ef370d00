"""Training steps of Llama-shaped models with random weights.

    end_to_end.py ftc|peft|streaming WORK_DIRECTORY --ftc PROGRAM --tokenizer DIRECTORY [--tiny] [--tokens N]

ftc and peft: the shape of Llama-3-8B, `ftc train` (LoRA, QLoRA) against transformers + PEFT (LoRA). streaming: QLoRA of the shape of
Llama-2-7B in as little memory as it takes, then of a 70B shape whose layers wait in host memory (--vram 24GB), beside the same with all
of them on the device. Tokens per second (median of the steps after the second) and peak memory of the device, read from outside the process.
"""
import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

import random_model
from measure import CUDA, DEVICE, emit, environment

STEPS = 10


class DeviceMemory:
    """The most memory of the device in use while it stands, beyond what was in use before."""

    def __enter__(self):
        self.before = self.peak = self.used()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def watch(self):
        while not self.done.wait(0.1):
            self.peak = max(self.peak, self.used())

    def used(self):
        try:
            text = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True, text=True, check=True).stdout
            return int(text.split()[0])
        except (OSError, subprocess.CalledProcessError, ValueError):
            return 0

    @property
    def mib(self):
        return self.peak - self.before


def ftc_train(arguments, model, method, checkpointing, shape="", memory=(), tokens=None):
    """One run; returns its tokens per second."""
    tokens = tokens or arguments.tokens
    memory = memory or ("--memory-limit", arguments.memory_limit)
    case = dict(case="end to end", variant=f"finetunecore {method}{shape and ' ' + shape}", tokens=tokens, activation_checkpointing=checkpointing)
    output = arguments.work / f"run-{method}-{checkpointing}-{time.time_ns()}"
    command = [*arguments.ftc, "train", "--model", model, "--data", model / "train.jsonl", "--output", output, "--method", method,
               "--sequence-length", tokens, "--micro-batch-size", 1, "--max-steps", STEPS, "--overflow", "truncate",
               "--validation-fraction", 0, "--checkpoint-every", 1000, "--rank", 16, "--warmup-steps", 1,
               "--activation-checkpointing", str(checkpointing).lower(), *memory]
    command += ["--device", "cuda:0", "--precision", "bf16"] if CUDA else ["--device", "cpu"]
    command = [str(part) for part in command]
    start = time.time()
    with DeviceMemory() as device:
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        emit(**case, status="failed", message=(result.stderr or result.stdout)[-400:], command=" ".join(command[len(arguments.ftc):]))
        return None
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    rates = [row["tokens_per_second"] for row in rows if row.get("tokens_per_second")]
    rate = statistics.median(rates[2:] or rates)
    emit(**case, tokens_per_second=round(rate, 1), steps=len(rates), peak_device_mib=device.mib,
         first_loss=next((row["loss"] for row in rows if "loss" in row), None), seconds=round(time.time() - start, 1))
    return rate


def random_weights(arguments, shape):
    model = arguments.work / f"llama-{shape}"
    if not (model / "config.json").exists():
        start = time.time()
        size = random_model.write(shape, model, arguments.tokenizer)
        emit(case="random model", shape=shape, gb=round(size / 1e9, 2), seconds=round(time.time() - start, 1))
    if CUDA:
        torch.cuda.empty_cache()
    return model


def streaming(arguments):
    small, large, vram = ("tiny-nf4", "tiny-nf4", "2GB") if arguments.tiny else ("7b-nf4", "70b-nf4", "24GB")
    ftc_train(arguments, random_weights(arguments, small), "qlora", True, small, tokens=arguments.tokens // 2)
    model = random_weights(arguments, large)
    resident = ftc_train(arguments, model, "qlora", True, f"{large} resident")
    streamed = ftc_train(arguments, model, "qlora", True, f"{large} --vram {vram}", memory=("--vram", vram)) if CUDA else None
    if resident and streamed:
        emit(case="end to end", variant=f"{large}: tokens/s streamed over resident", ratio=round(streamed / resident, 3))


def peft_train(arguments, wide_adapters, checkpointing):
    case = dict(case="end to end", variant=f"transformers + peft lora, {'fp32' if wide_adapters else 'bf16'} adapters", tokens=arguments.tokens,
                activation_checkpointing=checkpointing)
    try:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, LlamaConfig
    except ImportError as error:
        emit(**case, status="absent", message=str(error))
        return
    try:
        shape = random_model.config(arguments.shape)
        configuration = LlamaConfig(**{key: value for key, value in shape.items() if key not in ("architectures", "model_type", "torch_dtype")})
        with DeviceMemory() as memory:
            torch.set_default_dtype(torch.bfloat16)
            with torch.device(DEVICE):
                model = AutoModelForCausalLM.from_config(configuration, attn_implementation="sdpa")
            torch.set_default_dtype(torch.float32)
            model.config.use_cache = False
            model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
                                   autocast_adapter_dtype=wide_adapters)
            if checkpointing:
                model.enable_input_require_grads()
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.train()
            trained = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(trained, lr=2e-4, fused=CUDA)
            ids = torch.randint(0, 2048, (1, arguments.tokens), device=DEVICE)
            times = []
            for _ in range(STEPS):
                torch.cuda.synchronize() if CUDA else None
                start = time.perf_counter()
                loss = model(input_ids=ids, labels=ids).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                loss.item()
                torch.cuda.synchronize() if CUDA else None
                times.append(time.perf_counter() - start)
        emit(**case, tokens_per_second=round(arguments.tokens / statistics.median(times[2:]), 1), steps=STEPS, peak_device_mib=memory.mib,
             peak_torch_mib=round(torch.cuda.max_memory_allocated() / 2**20) if CUDA else None)
    except Exception as error:
        emit(**case, status="failed", message=f"{type(error).__name__}: {error}"[:400])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["ftc", "peft", "streaming"])
    parser.add_argument("work", type=Path)
    parser.add_argument("--ftc", type=lambda text: text.split(), help="the program, with arguments where it needs some")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--tokens", type=int, default=0)
    parser.add_argument("--memory-limit", default="70GB")
    parser.add_argument("--only", type=int, help="one case of the peer, in this process")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    arguments.shape = "tiny" if arguments.tiny else "8b"
    arguments.tokens = arguments.tokens or (64 if arguments.tiny else 2048)
    if arguments.tiny:
        arguments.memory_limit = "2GB"
    if arguments.side == "peft":
        cases = [(False, False), (True, False), (False, True)]  # fp32 adapters, activation checkpointing
        if arguments.only is None:  # a process each: what one leaves in the allocator is not the next one's
            environment()
            for n in range(len(cases)):
                subprocess.run([sys.executable, *sys.argv, "--only", str(n)])
        else:
            peft_train(arguments, *cases[arguments.only])
        return
    environment()
    if arguments.side == "streaming":
        streaming(arguments)
        return
    model = random_weights(arguments, arguments.shape)
    for method, checkpointing in (("lora", False), ("qlora", False), ("lora", True), ("qlora", True)):
        ftc_train(arguments, model, method, checkpointing)
    if CUDA:  # short steps, where launching op by op takes a fifth of the time
        for graphs in ("auto", "off"):
            ftc_train(arguments, model, "lora", False, f"--cuda-graphs {graphs}", ("--memory-limit", arguments.memory_limit, "--cuda-graphs", graphs),
                      arguments.tokens // 4)


if __name__ == "__main__":
    main()
