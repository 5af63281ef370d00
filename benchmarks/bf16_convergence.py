#!/usr/bin/env python3
"""Trains the quickstart's base model on its chats for 300 steps, once in fp32 and once in bf16, and compares the validation losses.

bf16_convergence.py FTC OUTPUT_DIR [--check] [--seeds N ...]: FTC is the command of the trainer, OUTPUT_DIR gets bf16-convergence.json and .md. Losses depend on
the seed, not on how busy the machine is. --check fails when a final validation loss of bf16 is further than 1 % from fp32's.
"""
import argparse
import datetime
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUICKSTART = "managed/FineTuneCore.Cli/Quickstart"
STEPS, EVERY, ALLOWED = 300, 50, 0.01
OPTIONS = [
    "--model", f"{QUICKSTART}/tiny-base", "--data", f"{QUICKSTART}/data/support_chats.jsonl",
    "--validation-data", f"{QUICKSTART}/data/support_chats_heldout.jsonl", "--device", "cpu", "--max-steps", str(STEPS), "--eval-every", str(EVERY),
    "--early-stopping", "0", "--sequence-length", "256", "--micro-batch-size", "2",
]
LEARNING_RATES = {"lora": "5e-4", "qlora": "5e-4", "full": "1e-4"}


def train(ftc, method, seed, precision, folder):
    """Validation losses by step, and the line about the device."""
    output = pathlib.Path(folder) / f"{method}-{seed}-{precision}"
    command = [
        *ftc, "train", *OPTIONS, "--method", method, "--learning-rate", LEARNING_RATES[method], "--seed", str(seed), "--precision", precision,
        "--output", str(output),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}\n{done.stderr}")
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    device = next(line.split(None, 1)[1] for line in done.stdout.splitlines() if line.startswith("device"))
    return {row["step"]: row["eval_loss"] for row in rows if "eval_loss" in row}, device


def table(results):
    lines = [
        "# bf16 against fp32: validation losses of the same training", "",
        f"The quickstart's base model (3.3 M weights) on its chats, {STEPS} optimiser steps of 2 x 256 tokens, losses on the held-out chats. "
        f"Allowed: {ALLOWED:.0%} between the final losses.", "",
        f"{results['cpu']} ({results['isa']}), commit {results['commit']}, {results['date']}. Again: `./build.sh bench convergence`.", "",
        "| method | seed | before | fp32 | bf16 | apart |", "|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        lines.append(
            f"| {row['method']} | {row['seed']} | {row['fp32'][0]['loss']:.4f} | {row['fp32'][-1]['loss']:.4f} | {row['bf16'][-1]['loss']:.4f} "
            f"| {row['relative']:+.2%} |")
    lines += ["", "Along the way (the first seed), fp32 / bf16:", "", "| method | " + " | ".join(f"{p['step']}" for p in results["rows"][0]["fp32"]) + " |"]
    lines.append("|---" * (len(results["rows"][0]["fp32"]) + 1) + "|")
    for row in results["rows"]:
        if row["seed"] == results["rows"][0]["seed"]:
            lines.append(f"| {row['method']} | " + " | ".join(f"{a['loss']:.3f} / {b['loss']:.3f}" for a, b in zip(row["fp32"], row["bf16"])) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ftc")
    parser.add_argument("output")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    ftc, rows, device = shlex.split(options.ftc), [], ""
    with tempfile.TemporaryDirectory() as folder:
        for method in LEARNING_RATES:
            for seed in options.seeds:
                losses = {}
                for precision in ("fp32", "bf16"):
                    by_step, device = train(ftc, method, seed, precision, folder)
                    losses[precision] = [{"step": step, "loss": loss} for step, loss in sorted(by_step.items())]
                relative = losses["bf16"][-1]["loss"] / losses["fp32"][-1]["loss"] - 1
                rows.append({"method": method, "seed": seed, "learning_rate": float(LEARNING_RATES[method]), "relative": relative, **losses})
                print(f"{method}, seed {seed}: {losses['fp32'][-1]['loss']:.4f} in fp32, {losses['bf16'][-1]['loss']:.4f} in bf16, {relative:+.2%}", flush=True)
    name, isa = [part.strip() for part in device.split(",")][:2]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    results = {
        "cpu": name.removeprefix("cpu "), "isa": isa, "commit": commit, "date": datetime.date.today().isoformat(), "steps": STEPS,
        "options": OPTIONS, "rows": rows,
    }
    output = pathlib.Path(options.output)
    os.makedirs(output, exist_ok=True)
    (output / "bf16-convergence.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "bf16-convergence.md").write_text(table(results))
    apart = max(abs(row["relative"]) for row in rows)
    print(f"at most {apart:.2%} apart; written to {output}")
    if options.check and apart > ALLOWED:
        sys.exit(f"bf16 is {apart:.2%} from fp32, expected at most {ALLOWED:.0%}")


if __name__ == "__main__":
    main()
