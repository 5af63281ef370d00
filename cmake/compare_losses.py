#!/usr/bin/env python3
"""compare_losses.py RUN OTHER [TOLERANCE]: exits 1 unless two runs took the same steps with the same losses, within 1e-3 or what is given."""
import json
import pathlib
import sys


def losses(run):
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    return {(row["step"], key): row[key] for row in map(json.loads, lines) for key in ("loss", "eval_loss") if key in row}


def main():
    run, other, tolerance = sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 1e-3
    a, b = losses(run), losses(other)
    if not a or a.keys() != b.keys():
        sys.exit(f"{run} has {len(a)} losses, {other} {len(b)}: these are not the same runs")
    apart, (step, key) = max((abs(a[k] - b[k]), k) for k in a)
    print(f"{len(a)} losses, at most {apart:.2g} apart ({key} of step {step})")
    if not apart <= tolerance:
        sys.exit(f"expected at most {tolerance:g}")


if __name__ == "__main__":
    main()
