"""One linear layer with a LoRA adapter, forward and backward, at the shapes of Llama-3-8B: FineTuneCore against PEFT and the best
we could write in torch, all over the time of the frozen layer, which no adapter can beat.  linear.py [--tiny]"""
import torch
import torch.nn.functional as F

import ftc_library as ftc
from measure import DEVICE, DTYPE, FTC_DTYPE, Absent, compare, emit, environment, error_against, finish, random, tiny


class BestTorchLora(torch.autograd.Function):
    """LoRA with S = drop(X) A^T saved and the rank products added in place: the fewest passes plain torch can do."""

    @staticmethod
    def forward(context, x, weight, a, b, scaling, dropout):
        mask = None
        dropped = x
        if dropout > 0:
            mask = torch.rand(x.shape, device=x.device) >= dropout
            dropped = x * mask / (1 - dropout)
        s = dropped @ a.t()
        y = torch.addmm(F.linear(x, weight), s, b.t(), alpha=scaling)
        context.save_for_backward(dropped, weight, a, b, s, mask)
        context.scaling, context.dropout = scaling, dropout
        return y

    @staticmethod
    def backward(context, dy):
        dropped, weight, a, b, s, mask = context.saved_tensors
        ds = (dy @ b).mul_(context.scaling)
        db = torch.mm(dy.t(), s).mul_(context.scaling)
        da = torch.mm(ds.t(), dropped)
        if mask is None:
            dx = torch.addmm(dy @ weight, ds, a)
        else:
            dx = (dy @ weight).add_((ds @ a).mul_(mask / (1 - context.dropout)))
        return dx, None, da, db, None, None


def peft_layer(weight, rank, alpha, dropout, wide_adapters):
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        return Absent(f"peft is not installed ({error})")
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=DEVICE, dtype=DTYPE)
    layer.weight.data = weight
    model = torch.nn.Sequential()
    model.add_module("q_proj", layer)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=["q_proj"]),
                           autocast_adapter_dtype=wide_adapters)
    if not wide_adapters:
        model = model.to(DTYPE)
    model.train()
    return model


class FtcLinear:
    """The layer through ftc.h, in the layout the library asks for."""

    def __init__(self, library, x, dy, weight, a, b, scaling, dropout):
        self.library = library
        (m, k), n, r = x.shape, weight.shape[0], a.shape[0]
        layout = library.linear_layout(k, n, r, FTC_DTYPE)
        bordered = lambda t, rows, stride: F.pad(t, (0, stride - t.shape[1], 0, rows - t.shape[0]))
        self.x, self.dy = bordered(x, m, layout.x_row_stride), bordered(dy, m, layout.y_row_stride)
        self.y, self.dx = torch.empty_like(self.dy), torch.empty_like(self.x)
        self.weight_memory = bordered(weight, n + layout.border, layout.weight_row_stride)
        self.weight = ftc.Weight(format=FTC_DTYPE, rows=n, cols=k, row_stride=layout.weight_row_stride, border=layout.border,
                                 data=self.weight_memory.data_ptr())
        self.a, self.b = a.float(), b.float()
        self.s = torch.empty(m, r, device=DEVICE)
        self.da, self.db = torch.zeros_like(self.a), torch.zeros_like(self.b)
        self.segment = ftc.LoraSegment(rank=r, row_begin=0, row_end=m, a=self.a.data_ptr(), b=self.b.data_ptr(), s=self.s.data_ptr(),
                                       da=self.da.data_ptr(), db=self.db.data_ptr(), scaling=scaling, dropout_probability=dropout, dropout_seed=42)
        self.tokens = torch.arange(m, dtype=torch.int32, device=DEVICE)
        self.params = ftc.LinearParams(dtype=FTC_DTYPE, rows=m, x_row_stride=layout.x_row_stride, dx_row_stride=layout.x_row_stride,
                                       y_row_stride=layout.y_row_stride, dy_row_stride=layout.y_row_stride, x_border=layout.border,
                                       dy_border=layout.border, dropout_samples=self.tokens.data_ptr(), dropout_positions=self.tokens.data_ptr())
        self.bytes = library.ask("linear_workspace_bytes", ftc.LinearWorkspaceParams(
            dtype=FTC_DTYPE, weight_format=FTC_DTYPE, border=layout.border, rows=m, in_features=k, out_features=n, rank=r))
        self.workspace = torch.empty(self.bytes + 64, dtype=torch.uint8, device=DEVICE)
        self.m, self.n, self.k = m, n, k

    def forward(self):
        self.library.call("linear_forward", self.y, self.x, self.weight, None, self.segment, ftc.I32(1), self.params, self.workspace, self.bytes)

    def backward(self):
        self.library.call("linear_backward", self.dx, None, None, self.dy, self.x, self.weight, self.segment, ftc.I32(1), self.params,
                          self.workspace, self.bytes)

    def both(self):
        self.forward()
        self.backward()


def correctness(layer, x, dy, weight, a, b, scaling, shape):
    """FineTuneCore against fp64 on the same numbers, forward and every gradient; only without dropout."""
    layer.da.zero_()
    layer.db.zero_()
    layer.both()
    layer.library.synchronize()
    X, DY, W, A, B = (t.double() for t in (x, dy, weight, a, b))
    S, DS = X @ A.t(), scaling * DY @ B
    for name, exact, value in (("y", X @ W.t() + scaling * S @ B.t(), layer.y[:, :layer.n]), ("dx", DY @ W + DS @ A, layer.dx[:, :layer.k]),
                               ("da", DS.t() @ X, layer.da), ("db", scaling * DY.t() @ S, layer.db)):
        emit(case="linear correctness", variant="finetunecore", output=name, shape=shape, **error_against(exact, value))


def run(library, name, n, k, m, rank, dropout):
    shape, alpha = f"{name} {n} x {k}, M {m}, r {rank}, dropout {dropout}", 2 * rank
    scaling = alpha / rank
    x, dy, weight = random(m, k, seed=1), random(m, n, seed=2), random(n, k, scale=0.02, seed=3)
    a, b = random(rank, k, scale=0.02, seed=4), random(n, rank, scale=0.02, seed=5)

    def frozen():
        F.linear(x, weight)
        dy @ weight

    def trained(module):
        if isinstance(module, Exception):
            return module
        inputs = x.clone().requires_grad_()

        def body():
            inputs.grad = None
            for p in module.parameters():
                p.grad = None
            module(inputs).backward(dy)

        return body

    leaves = [t.clone().requires_grad_() for t in (x, a, b)]

    def best():
        for t in leaves:
            t.grad = None
        BestTorchLora.apply(leaves[0], weight, leaves[1], leaves[2], scaling, dropout).backward(dy)

    try:
        layer = FtcLinear(library, x, dy, weight, a, b, scaling, dropout)
        ours = layer.both
    except ftc.Refused as error:
        layer, ours = None, Absent(str(error))
    medians = compare("linear forward+backward", {
        "frozen layer": frozen, "finetunecore": ours, "best torch": best,
        "peft bf16 adapters": trained(peft_layer(weight, rank, alpha, dropout, False)),
        "peft fp32 adapters": trained(peft_layer(weight, rank, alpha, dropout, True)),
    }, flops=4 * m * n * k, shape=shape)
    if "finetunecore" in medians:
        mine = medians["finetunecore"]
        emit(case="linear ratio", shape=shape, over_frozen_percent=round(100 * (mine / medians["frozen layer"] - 1), 2),
             **{f"faster_than_{v.replace(' ', '_')}": round(t / mine, 3) for v, t in medians.items() if v not in ("finetunecore", "frozen layer")})
        if dropout == 0 and m <= 2048:
            correctness(layer, x, dy, weight, a, b, scaling, shape)


def main():
    environment()
    library = ftc.Library()
    shapes = [("q", 64, 64), ("gate", 96, 64)] if tiny() else [("q", 4096, 4096), ("gate", 14336, 4096), ("down", 4096, 14336)]
    for m in [32] if tiny() else [8192, 2048, 512]:
        for dropout in (0.0, 0.05):
            for name, n, k in shapes:
                run(library, name, n, k, m, 8 if tiny() else 16, dropout)


if __name__ == "__main__":
    main()
    finish()
