"""Reads compiled kernels: registers, shared memory and launch bounds of each, and what its machine code does.

Works on anything that holds cubins (a library, an object file), with cuobjdump of the toolkit.
"""
import re
import struct
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Instruction:
    address: int
    predicated: bool
    opcode: str  # with its modifiers: LDG.E.128.CONSTANT
    operands: str


@dataclass
class Kernel:
    file: str  # stem of its source: swiglu_cuda
    name: str  # readable: swiglu_forward_kernel<bf16, 8>
    arch: str  # sm_80
    registers: int = 0  # of a thread
    stack_bytes: int = 0
    shared_bytes: int = 0  # static
    max_threads: int = 0  # of __launch_bounds__; 0 = none given
    instructions: list = field(default_factory=list)
    loops: list = field(default_factory=list)  # sets of addresses, outermost loops
    inner_loops: list = field(default_factory=list)  # the loops that hold no other


def read(file, cuobjdump):
    """All kernels of `file`, sorted by source file, name and architecture."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        _run(folder, cuobjdump, "-xelf", "all", str(Path(file).resolve()))
        cubins = sorted(path.name for path in Path(folder).glob("*.cubin"))
        with ProcessPoolExecutor() as pool:
            for kernels in pool.map(_read_cubin, [folder] * len(cubins), [cuobjdump] * len(cubins), cubins):
                for kernel in kernels:
                    found[kernel.file, kernel.name, kernel.arch] = kernel
    return [found[key] for key in sorted(found)]


def _run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def _read_cubin(folder, cuobjdump, cubin):
    stem, arch = re.match(r"(.*?)(?:\.\d+)?\.(sm_\d+a?)\.cubin", cubin).groups()
    kernels = _resource_usage(_run(folder, cuobjdump, "-res-usage", cubin), stem, arch)
    for symbol, threads in _launch_bounds((Path(folder) / cubin).read_bytes()).items():
        if symbol in kernels:
            kernels[symbol].max_threads = threads
    for symbol, instructions in _disassembly(_run(folder, cuobjdump, "-sass", cubin)).items():
        if symbol in kernels:
            kernels[symbol].instructions = instructions
            kernels[symbol].loops, kernels[symbol].inner_loops = _loops(instructions)
    for kernel, name in zip(kernels.values(), _readable(kernels)):
        kernel.name = name
    return list(kernels.values())


def _resource_usage(text, file, arch):
    kernels = {}
    for symbol, registers, stack, shared in re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+)", text):
        # From sm_90 on the figure includes 1024 bytes the system keeps of every block.
        reserved = 1024 if int(re.search(r"\d+", arch).group()) >= 90 else 0
        kernels[symbol] = Kernel(file, symbol, arch, int(registers), int(stack), max(0, int(shared) - reserved))
    return kernels


def _readable(symbols):
    """Names without namespaces, return type and arguments: what a reader calls the kernel."""
    text = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    for name in text.splitlines():
        name = name.replace("(anonymous namespace)::", "")
        name = re.sub(r"_GLOBAL__N__\w+::", "", name)
        name = re.sub(r"^(void|__global__) ", "", name)
        depth = 0
        for i, c in enumerate(name):  # cut at the argument list: the first parenthesis outside <>
            depth += (c == "<") - (c == ">")
            if c == "(" and depth == 0:
                name = name[:i]
                break
        name = re.sub(r"\b(?:\w+::)+(?=\w)", "", name)
        name = re.sub(r"\((?:int|long|bool|unsigned int|unsigned long)\)", "", name)
        yield name.replace("__nv_bfloat16", "bf16").replace("__half", "f16")


def _launch_bounds(cubin):
    """kernel symbol -> threads of a block at most, from the .nv.info sections (attribute 5: three 32-bit numbers)."""
    bounds = {}
    section_offset, = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, section_offset + i * size) for i in range(count)]
    names = sections[names_index]
    for name, _, _, _, offset, length in sections:
        end = cubin.index(b"\0", names[4] + name)
        text = cubin[names[4] + name:end].decode()
        if not text.startswith(".nv.info."):
            continue
        at, stop = offset, offset + length
        while at + 4 <= stop:
            form, attribute, value = struct.unpack_from("<BBH", cubin, at)
            at += 4
            if form == 4:  # the value is the length of what follows
                if attribute == 5 and value >= 12:
                    x, y, z = struct.unpack_from("<III", cubin, at)
                    bounds[text[len(".nv.info."):]] = x * y * z
                at += value
    return bounds


def _disassembly(text):
    functions, instructions = {}, []
    line_form = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+ )?([A-Z][\w.]*)\s*(.*?);")
    for line in text.splitlines():
        start = re.match(r"\s+Function : (\S+)", line)
        if start:
            instructions = functions.setdefault(start.group(1), [])
        elif match := line_form.match(line):
            instructions.append(Instruction(int(match.group(1), 16), match.group(2) is not None, match.group(3), match.group(4)))
    return functions


def _loops(instructions):
    """Outermost and innermost loops, as sets of instruction addresses.

    A loop is a strongly connected part of the control flow; its inner loops are the connected parts that remain when the
    blocks it is entered by are taken out. (Backward branches alone would mislead: cold code stands at a kernel's end and
    branches back.)
    """
    addresses = [i.address for i in instructions]
    following = dict(zip(addresses, addresses[1:]))
    successors = {}
    for i in instructions:
        next_ones = []
        stem = i.opcode.split(".")[0]
        if stem in ("BRA", "JMP"):
            target = re.search(r"0x([0-9a-f]+)", i.operands)
            if target:
                next_ones.append(int(target.group(1), 16))
            conditional = i.predicated or "UP" in i.operands or re.search(r"\bP\d", i.operands) or "DIV" in i.opcode or "CONV" in i.opcode
        else:
            conditional = i.predicated or stem not in ("EXIT", "RET", "BRX")
        if conditional and i.address in following:
            next_ones.append(following[i.address])
        successors[i.address] = next_ones

    reachable, pending = set(), addresses[:1]
    while pending:
        a = pending.pop()
        if a not in reachable and a in successors:
            reachable.add(a)
            pending += successors[a]

    def parts(nodes):
        return [part for part in _connected(nodes, successors) if len(part) > 1 or any(a in successors[a] for a in part)]

    outer, inner = parts(reachable), []
    pending = [(part, reachable) for part in outer]
    while pending:
        loop, around = pending.pop()
        entries = {t for a in around - loop for t in successors[a] if t in loop} or {min(loop)}
        nested = parts(loop - entries)
        pending += [(part, loop) for part in nested]
        if not nested:
            inner.append(loop)
    return outer, inner


def _connected(nodes, successors):
    """Strongly connected components (Tarjan 1972), without recursion."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(successors[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for target in rest:
                if target not in nodes:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(successors[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    part = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        part.add(member)
                        if member == node:
                            break
                    found.append(part)
    return found
