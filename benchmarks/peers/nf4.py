"""NF4 with double-quantised absmax: dequantising and the product, against torch's table look-up, eager and compiled, and against bf16
weights by cuBLAS.  nf4.py [--tiny]

Wall time from Python says nothing of calls of ten microseconds, so decoding (few rows) is measured by cuda_bench alone."""
import torch
import torch.nn.functional as F

import ftc_library as ftc
from measure import CUDA, DEVICE, DTYPE, FTC_DTYPE, Absent, compare, emit, environment, error_against, finish, random, tiny

# The 16 values of NF4 (Dettmers et al. 2023, arXiv:2305.14314, appendix E).
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


class Nf4Weight:
    """A weight quantised by the library, and what torch needs to read it."""

    def __init__(self, library, weight):
        self.rows, self.cols = weight.shape
        count, blocks = weight.numel(), -(-weight.numel() // 64)
        self.codes = torch.empty(-(-count // 2), dtype=torch.uint8, device=DEVICE)
        absmax = torch.empty(blocks, device=DEVICE)
        self.absmax_codes = torch.empty(blocks, dtype=torch.uint8, device=DEVICE)
        self.nested_absmax = torch.empty(-(-blocks // 256), device=DEVICE)
        offset = torch.empty(1, device=DEVICE)
        # Any ascending map in [-1, 1] times the same; this one is linear.
        self.nested_map = torch.linspace(-1, 1, 256, device=DEVICE)
        self.quant_map = torch.tensor(NF4, device=DEVICE)
        wide = weight.float().contiguous()
        torch.cuda.synchronize() if CUDA else None
        library.call("nf4_quantize", self.codes, absmax, wide, count)
        library.call("nf4_quantize_absmax", self.absmax_codes, self.nested_absmax, offset, absmax, self.nested_map, blocks)
        library.synchronize()
        self.offset = offset.item()
        self.value = ftc.Weight(format=ftc.WEIGHT_NF4, rows=self.rows, cols=self.cols, data=self.codes.data_ptr(), absmax=self.absmax_codes.data_ptr(),
                                nested_absmax=self.nested_absmax.data_ptr(), nested_map=self.nested_map.data_ptr(), quant_map=self.quant_map.data_ptr(),
                                nested_offset=self.offset, block_size=64, nested_block_size=256)

    def dequantize_by_table(self):
        look_up = lambda table, index: table.index_select(0, index.view(-1).int())
        absmax = look_up(self.nested_map, self.absmax_codes) * self.nested_absmax.repeat_interleave(256)[:self.absmax_codes.numel()] + self.offset
        halves = torch.stack((self.codes >> 4, self.codes & 15), dim=-1)
        return (look_up(self.quant_map, halves).view(-1, 64) * absmax[:, None]).to(DTYPE).view(self.rows, self.cols)


def compiled(function):
    """`function` through torch.compile, or why not."""
    if not hasattr(torch, "compile") or not CUDA:
        return Absent("torch.compile needs a GPU here")
    return torch.compile(function, mode="max-autotune-no-cudagraphs")


class FtcLinear:
    """x W^T with the quantised weight, or with a dense one."""

    def __init__(self, library, x, dy, value, out_features):
        (m, k), n = x.shape, out_features
        self.library, self.x, self.dy, self.weight = library, x, dy, value
        self.y, self.dx = torch.empty(m, n, dtype=DTYPE, device=DEVICE), torch.empty(m, k, dtype=DTYPE, device=DEVICE)
        self.params = ftc.LinearParams(dtype=FTC_DTYPE, rows=m, x_row_stride=k, dx_row_stride=k, y_row_stride=n, dy_row_stride=n)
        self.bytes = library.ask("linear_workspace_bytes", ftc.LinearWorkspaceParams(
            dtype=FTC_DTYPE, weight_format=value.format, rows=m, in_features=k, out_features=n))
        self.workspace = torch.empty(self.bytes + 64, dtype=torch.uint8, device=DEVICE)

    def forward(self):
        self.library.call("linear_forward", self.y, self.x, self.weight, None, None, ftc.I32(0), self.params, self.workspace, self.bytes)

    def both(self):
        self.forward()
        self.library.call("linear_backward", self.dx, None, None, self.dy, self.x, self.weight, None, ftc.I32(0), self.params, self.workspace,
                          self.bytes)


def run(library, name, n, k, rows):
    dense = random(n, k, scale=0.02, seed=3)
    weight = Nf4Weight(library, dense)
    table = weight.dequantize_by_table()
    y = torch.empty(n, k, dtype=DTYPE, device=DEVICE)
    dequantize = lambda: library.call("weight_dequantize", y, ftc.I32(FTC_DTYPE), k, weight.value, 0, n)
    dequantize()
    library.synchronize()
    emit(case="nf4 correctness", shape=f"{name} {n} x {k}", bit_equal_to_torch=bool((y == table).all().item()))
    by_table_compiled = compiled(weight.dequantize_by_table)
    source = torch.empty(n * k, dtype=DTYPE, device=DEVICE)
    target = torch.empty_like(source)
    moved = n * k * (2 + 0.5 + 1 / 64)
    # The copy moves as many bytes as dequantising must.
    part = int(moved / (2 * source.element_size()))
    compare("nf4 dequantize", {
        "finetunecore": dequantize, "torch table": weight.dequantize_by_table, "torch table compiled": by_table_compiled,
        "copy of as many bytes": lambda: target[:part].copy_(source[:part]),
    }, bytes=moved, shape=f"{name} {n} x {k}")

    for m in rows:
        shape = f"{name} {n} x {k}, M {m}"
        x, dy = random(m, k, seed=1), random(m, n, seed=2)
        ours, plain = FtcLinear(library, x, dy, weight.value, n), FtcLinear(
            library, x, dy, ftc.Weight(format=FTC_DTYPE, rows=n, cols=k, row_stride=k, data=dense.data_ptr()), n)
        torch.cuda.synchronize() if CUDA else None

        def by_table(function):
            if isinstance(function, Exception):
                return function

            def body():
                w = function()
                F.linear(x, w)
                dy @ w

            return body

        def cublas():
            F.linear(x, dense)
            dy @ dense

        medians = compare("nf4 linear forward+backward", {
            "finetunecore": ours.both, "finetunecore bf16 weight": plain.both, "cublas bf16 weight": cublas,
            "torch table": by_table(weight.dequantize_by_table), "torch table compiled": by_table(by_table_compiled),
        }, flops=4 * m * n * k, shape=shape)
        if m <= 512:
            ours.forward()
            library.synchronize()
            emit(case="nf4 linear correctness", shape=shape, **error_against(x.double() @ table.double().t(), ours.y))
        if "finetunecore" in medians:
            mine = medians["finetunecore"]
            emit(case="nf4 linear ratio", shape=shape, over_bf16_weight=round(mine / medians["finetunecore bf16 weight"], 3) if "finetunecore bf16 weight" in medians else None,
                 **{f"faster_than_{v.replace(' ', '_')}": round(t / mine, 3) for v, t in medians.items() if not v.startswith("finetunecore")})


def main():
    environment()
    library = ftc.Library()
    if tiny():
        run(library, "q", 64, 128, [17])
    else:
        run(library, "gate", 14336, 4096, [128, 512, 2048, 8192])
        run(library, "q", 4096, 4096, [512, 2048, 8192])


if __name__ == "__main__":
    main()
    finish()
