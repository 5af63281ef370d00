"""gpu_results.py DONE_DIRECTORY RESULTS_DIRECTORY: makes results.json and results.md of a run of gpu-run.sh, from the states of its
stages and measurements.jsonl. Figures are printed beside the targets they are held against; what was not measured says so."""
import json
import sys
from pathlib import Path


def load(results):
    rows, file = [], results / "measurements.jsonl"
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            pass  # the line a stage was cut short in
    return rows


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def last(self, key, **wanted):
        """`key` of the last row whose fields equal, or for text contain, what is wanted; None without one."""
        for row in reversed(self.rows):
            if key in row and all(row.get(name) == value or (isinstance(value, str) and value in str(row.get(name, ""))) for name, value in wanted.items()):
                return row[key]
        return None


def targets(r):
    """(what, target, measured as text, met or None)."""
    def line(what, target, value, met, form="{:.2f}"):
        return what, target, "not measured" if value is None else form.format(value), None if value is None else met(value)

    def ratio(a, b):
        return None if not a or not b else a / b

    yield line("NF4 double-quant dequantise, 14336 × 4096: share of copy bandwidth", "≥ 0.85",
               r.last("share", op="dequantize nf4 nested", shape="14336"), lambda v: v >= 0.85)
    yield line("NF4 decode, M = 1, 14336 × 4096: share of bandwidth", "≥ 0.75", r.last("share", op="linear forward", shape="gate 14336 x 4096, M 1, nf4, r 0"),
               lambda v: v >= 0.75)
    decode = lambda form: r.last("us", op="linear forward", shape=f"gate 14336 x 4096, M 1, {form}, r 0")
    yield line("the same over cuBLASLt with a bf16 weight", "≥ 3 ×", ratio(decode("bf16"), decode("nf4")), lambda v: v >= 3)
    q = "q 4096 x 4096, M 8192, r 16, dropout "
    yield line("LoRA forward + backward over the frozen linear, 4096², M 8192, r 16", "≤ +10 %", r.last("over_frozen_percent", shape=q + "0.0"),
               lambda v: v <= 10, "{:+.1f} %")
    yield line("the same with dropout", "≤ +13 %", r.last("over_frozen_percent", shape=q + "0.05"), lambda v: v <= 13, "{:+.1f} %")
    yield line("the same over PEFT bf16", "≥ 1.3 ×", r.last("faster_than_peft_bf16_adapters", shape=q + "0.05"), lambda v: v >= 1.3)
    yield line("QLoRA / LoRA, forward + backward of gate, M 2048", "≤ 1.05", r.last("over_bf16_weight", shape="gate 14336 x 4096, M 2048"), lambda v: v <= 1.05)
    yield line("chunked CE, 8192 × 128256, over its two bare products", "≤ 1.2", r.last("over_products", shape="8192 rows, 4096 x 128256, 0 %"), lambda v: v <= 1.2)
    yield line("its memory", "≤ 600 MiB", r.last("workspace_mib", shape="8192 rows, 4096 x 128256, 0 %"), lambda v: v <= 600, "{:.0f} MiB")
    yield line("attention forward over SDPA flash, 8192 tokens", "≥ 0.8", r.last("speed_over_sdpa_flash", case="attention forward ratio", shape="8192 tokens"), lambda v: v >= 0.8)
    yield line("attention forward + backward over SDPA flash, 8192 tokens", "≥ 0.7",
               r.last("speed_over_sdpa_flash", case="attention forward+backward ratio", shape="8192 tokens"), lambda v: v >= 0.7)
    rate = lambda variant: r.last("tokens_per_second", case="end to end", variant=variant, activation_checkpointing=False, tokens=2048)
    yield line("Llama-3-8B-shaped LoRA step over transformers + PEFT", "≥ 1.3 ×",
               ratio(rate("finetunecore lora"), rate("transformers + peft lora, bf16")), lambda v: v >= 1.3)
    yield line("QLoRA / LoRA step time, 2048 tokens", "≤ 1.05", ratio(rate("finetunecore lora"), rate("finetunecore qlora")), lambda v: v <= 1.05)


def table(title, rows, columns):
    if not rows:
        return
    yield f"\n## {title}\n"
    yield "| " + " | ".join(columns) + " |"
    yield "| " + " | ".join("---" for _ in columns) + " |"
    for row in rows:
        yield "| " + " | ".join(str(row[c]) if row.get(c) is not None else "–" for c in columns) + " |"


def markdown(environment, states, rows):
    yield "# FineTuneCore on a GPU\n"
    yield "```\n" + environment.strip() + "\n```"
    yield "\n## Stages\n\n| stage | result |\n| --- | --- |"
    for stage, state in states.items():
        yield f"| {stage} | {state} |"
    yield "\n## Targets\n\n| what | target | measured | |\n| --- | --- | --- | --- |"
    for what, target, value, met in targets(Rows(rows)):
        yield f"| {what} | {target} | {value} | {'' if met is None else 'met' if met else 'missed'} |"
    yield from table("Ops of the CUDA library, L2 flushed, against the copy and cuBLASLt rates above them",
                     [r for r in rows if r["stage"] == "native"],
                     ["op", "shape", "us", "us_min", "us_max", "gb_per_s", "tflop_per_s", "ceiling", "share", "message"])
    for stage in dict.fromkeys(r["stage"] for r in rows if r["stage"].startswith("peer")):
        of_stage = [r for r in rows if r["stage"] == stage and r.get("case") != "environment"]
        yield from table(f"{stage}: medians of interleaved rounds", [r for r in of_stage if "variant" in r and "output" not in r],
                         ["case", "shape", "variant", "us", "us_min", "us_max", "tflop_per_s", "gb_per_s", "peak_mib", "message"])
        yield from table(f"{stage}: correctness", [r for r in of_stage if "rms_error" in r or "bit_equal_to_torch" in r],
                         ["case", "shape", "output", "max_error", "rms_error", "bit_equal_to_torch"])
    yield from table("End to end", [r for r in rows if r.get("case") == "end to end"],
                     ["variant", "tokens", "activation_checkpointing", "tokens_per_second", "peak_device_mib", "peak_torch_mib", "message"])


def main():
    done, results = Path(sys.argv[1]), Path(sys.argv[2])
    states = {file.name: file.read_text().strip() for file in sorted(done.iterdir(), key=lambda f: f.stat().st_mtime)}
    rows = load(results)
    environment = (results / "environment.txt").read_text() if (results / "environment.txt").exists() else "unknown"
    (results / "results.json").write_text(json.dumps(dict(
        environment=environment.splitlines(), stages=states, measurements=rows,
        targets=[dict(what=w, target=t, measured=v, met=m) for w, t, v, m in targets(Rows(rows))]), indent=1) + "\n")
    (results / "results.md").write_text("\n".join(markdown(environment, states, rows)) + "\n")


if __name__ == "__main__":
    main()
