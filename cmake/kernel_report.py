"""The static report of the CUDA library: what each kernel takes on each architecture, and what its machine code does.

    kernel_report.py LIBRARY --cuobjdump PATH --write DIRECTORY   writes kernels.md and kernels.json
    kernel_report.py LIBRARY --cuobjdump PATH --check DIRECTORY   fails on spills, local memory in loops, and what
                                                                  kernel_expectations.json asks for and does not find;
                                                                  and when the files in DIRECTORY are out of date
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import cubin

# Per multiprocessor: warps, blocks, shared bytes.  CUDA C++ Programming Guide, table "Technical Specifications per Compute
# Capability". All have 65536 registers in four parts, handed out to warps 256 at a time, and keep 1024 bytes of each block's
# shared memory, which is handed out 128 bytes at a time.
LIMITS = {"sm_80": (64, 32, 164 << 10), "sm_86": (48, 16, 100 << 10), "sm_89": (48, 24, 100 << 10),
          "sm_90": (64, 32, 228 << 10), "sm_90a": (64, 32, 228 << 10)}
HERE = Path(__file__).resolve().parent


def round_up(value, unit):
    return -(-value // unit) * unit


def occupancy(arch, registers, shared_bytes, threads):
    """Resident warps as a share of the most there can be, and what limits them."""
    max_warps, max_blocks, max_shared = LIMITS[arch]
    warps = -(-threads // 32)
    by = {
        "threads": max_warps // warps,
        "registers": 4 * (65536 // 4 // round_up(32 * registers, 256)) // warps,
        "shared memory": max_shared // round_up(shared_bytes + 1024, 128),
        "blocks": max_blocks,
    }
    limit = min(by, key=by.get)
    return round(100 * by[limit] * warps / max_warps), limit


def width(opcode):
    """Bytes a lane moves with this load or store."""
    for modifier in opcode.split("."):
        if modifier in ("128", "64"):
            return int(modifier) // 8
        if modifier in ("U16", "S16"):
            return 2
        if modifier in ("U8", "S8"):
            return 1
    return 4


def is_local(opcode):
    return opcode.split(".")[0] in ("LDL", "STL")


def figures(kernel, dynamic_shared_bytes):
    """The row of one kernel on one architecture."""
    looped = set().union(*kernel.loops)
    count = lambda stem: sum(i.opcode.split(".")[0] == stem for i in kernel.instructions)
    loads, loop_loads = {}, {}
    for i in kernel.instructions:
        stem = i.opcode.split(".")[0]
        kind = {"LDG": "", "LDGSTS": " async", "UTMALDG": "tile async"}.get(stem)
        if kind is None:
            continue
        key = kind if stem == "UTMALDG" else f"{width(i.opcode)}{kind}"
        loads[key] = loads.get(key, 0) + 1
        if i.address in looped:
            loop_loads[key] = loop_loads.get(key, 0) + 1
    # With loads in a loop those matter, otherwise all do.
    moved = {key: n * (16 if key.startswith("tile") else int(key.split()[0])) for key, n in (loop_loads or loads).items()}
    wide = sum(n for key, n in moved.items() if key.startswith(("16", "tile")))
    threads = kernel.max_threads or 1024
    percent, limit = occupancy(kernel.arch, kernel.registers, kernel.shared_bytes + dynamic_shared_bytes, threads)
    return {
        "threads": threads, "registers": kernel.registers, "stack_bytes": kernel.stack_bytes,
        "shared_bytes": kernel.shared_bytes, "dynamic_shared_bytes": dynamic_shared_bytes,
        "occupancy_percent": percent, "limited_by": limit,
        "global_loads": dict(sorted(loads.items())), "global_loads_in_loops": dict(sorted(loop_loads.items())),
        "wide_load_percent": round(100 * wide / sum(moved.values())) if moved else None,
        "hmma": count("HMMA"), "hgmma": count("HGMMA"), "ldsm": count("LDSM"), "mufu": count("MUFU"),
        "local_accesses": sum(is_local(i.opcode) for i in kernel.instructions),
        "local_accesses_in_loops": sum(is_local(i.opcode) for i in kernel.instructions if i.address in looped),
        "instructions": len(kernel.instructions),
    }


def collect(library, cuobjdump, expectations):
    table = {}
    for kernel in cubin.read(library, cuobjdump):
        name = f"{kernel.file}: {kernel.name}"
        dynamic = next((e["dynamic_shared_bytes"] for e in expectations
                        if "dynamic_shared_bytes" in e and re.search(e["kernels"], name)), 0)
        table.setdefault(name, {})[kernel.arch] = figures(kernel, dynamic)
    return table


def complaints(table, expectations, spills):
    for name, archs in table.items():
        for arch, row in archs.items():
            allowed = spills.get((name, arch), 0)
            if row["stack_bytes"] > allowed:
                yield f"{name} on {arch} keeps {row['stack_bytes']} bytes in local memory, expected at most {allowed} (cmake/spills.txt)"
            if row["local_accesses_in_loops"] and not allowed:
                yield f"{name} on {arch} has {row['local_accesses_in_loops']} local loads and stores in loops, expected none"
    for name, arch in spills:
        if arch not in table.get(name, {}):
            yield f"cmake/spills.txt names {name} on {arch}, which is not in the library"
    for e in expectations:
        matched = [(name, arch, row) for name, archs in table.items() if re.search(e["kernels"], name) for arch, row in archs.items()]
        if not matched:
            yield f"kernel_expectations.json: no kernel matches {e['kernels']}"
        for name, arch, row in matched:
            if e.get("tensor_cores") and not row["hmma"] + row["hgmma"]:
                yield f"{name} on {arch} has no HMMA and no HGMMA, expected tensor cores"
            wanted = e.get("wide_load_percent", 0)
            if wanted and (row["wide_load_percent"] or 0) < wanted:
                yield (f"{name} on {arch} moves {row['wide_load_percent']} % of its bytes by 16-byte loads, expected at least {wanted} %: "
                       f"{row['global_loads_in_loops'] or row['global_loads']}")
            if row["occupancy_percent"] < e.get("occupancy_percent", 0):
                yield f"{name} on {arch} reaches {row['occupancy_percent']} % occupancy, expected at least {e['occupancy_percent']} %"


def per_arch(archs, key):
    """One figure, or one for each architecture where they differ."""
    values = [row[key] for row in archs.values()]
    return str(values[0]) if len(set(values)) == 1 else " · ".join(map(str, values))


def markdown(table, nvcc):
    archs = sorted({arch for row in table.values() for arch in row})
    yield "# The CUDA kernels as compiled"
    yield ""
    yield f"nvcc {nvcc}; " + ", ".join(archs) + ". Written by `./build.sh kernel-report`, checked by `./build.sh test` where the same nvcc is found. Several"
    yield "figures are those of the architectures in this order. Occupancy: blocks that registers, shared memory (static and dynamic), threads and the"
    yield "architecture's own limit allow on a multiprocessor, at the largest block the launch bounds allow, as warps of the most there can be. Loads:"
    yield "instructions by bytes a lane loads, in loops where there are any; `async` goes straight to shared memory. `wide`: share of those bytes by"
    yield "16-byte loads. Stack: local memory, spills among it."
    source = None
    for name, rows in table.items():
        file, kernel = name.split(": ", 1)
        if file != source:
            source = file
            yield ""
            yield f"## {file}"
            yield ""
            yield "| kernel | threads | registers | shared bytes | occupancy % | loads | wide % | HMMA | HGMMA | MUFU | stack |"
            yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        last = list(rows.values())[-1]
        loads = last["global_loads_in_loops"] or last["global_loads"]
        shared = per_arch(rows, "shared_bytes") + (f" + {last['dynamic_shared_bytes']}" if last["dynamic_shared_bytes"] else "")
        yield "| `" + "` | ".join([kernel, " | ".join([
            per_arch(rows, "threads"), per_arch(rows, "registers"), shared, per_arch(rows, "occupancy_percent"),
            ", ".join(f"{n} × {key}" for key, n in sorted(loads.items(), key=lambda x: (-int(re.match(r"\d*", x[0]).group() or 99)))) or "none",
            per_arch(rows, "wide_load_percent").replace("None", "–"), per_arch(rows, "hmma"), per_arch(rows, "hgmma"), per_arch(rows, "mufu"),
            per_arch(rows, "stack_bytes")])]) + " |"


def as_json(table, nvcc):
    """One line a kernel and architecture, so that a difference reads well."""
    lines = [f'{{"nvcc": {json.dumps(nvcc)}, "kernels": {{']
    for n, (name, rows) in enumerate(table.items()):
        lines.append(f"{json.dumps(name)}: {{")
        lines.append(",\n".join(f"  {json.dumps(arch)}: {json.dumps(row)}" for arch, row in rows.items()))
        lines.append("}" + ("," if n + 1 < len(table) else ""))
    return "\n".join(lines + ["}}", ""])


def read_spills():
    """(kernel, architecture) -> bytes.  Lines of spills.txt: kernel | architecture | bytes | why it is worth it."""
    spills = {}
    for line in (HERE / "spills.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            kernel, arch, size, why = (part.strip() for part in line.split("|"))
            if not why:
                sys.exit(f"spills.txt: no reason given for {kernel}")
            spills[kernel, arch] = int(size)
    return spills


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--cuobjdump", required=True)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--write", type=Path, metavar="DIRECTORY")
    group.add_argument("--check", type=Path, metavar="DIRECTORY")
    arguments = parser.parse_args()

    version = subprocess.run([Path(arguments.cuobjdump).with_name("nvcc"), "--version"], capture_output=True, text=True, check=True).stdout
    nvcc = re.search(r"V(\d+\.\d+\.\d+)", version).group(1)
    expectations = json.loads((HERE / "kernel_expectations.json").read_text())
    table = collect(arguments.library, arguments.cuobjdump, expectations)
    kernels, json_file = sum(map(len, table.values())), (arguments.write or arguments.check) / "kernels.json"

    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        json_file.write_text(as_json(table, nvcc))
        (arguments.write / "kernels.md").write_text("\n".join(markdown(table, nvcc)) + "\n")
        print(f"{kernels} kernels (each architecture counted) in {arguments.write}")

    problems = list(complaints(table, expectations, read_spills()))
    if arguments.check:
        stored = json.loads(json_file.read_text()) if json_file.exists() else {"nvcc": nvcc, "kernels": {}}
        if stored["nvcc"] == nvcc and stored["kernels"] != table:
            changed = sorted(name for name in {*stored["kernels"], *table} if stored["kernels"].get(name) != table.get(name))
            problems.append(f"{json_file} is out of date for {len(changed)} kernels ({', '.join(changed[:3])}, ...): run ./build.sh kernel-report")
    for problem in problems:
        print(problem)
    print(f"{kernels} kernels checked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
