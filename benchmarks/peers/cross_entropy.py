"""Linear head and cross-entropy with the gradient of its input, head frozen: FineTuneCore against full logits, eager and compiled,
and in chunks, over the time of its two bare products.  cross_entropy.py [--tiny]"""
import torch
import torch.nn.functional as F

import ftc_library as ftc
from measure import CUDA, DEVICE, DTYPE, FTC_DTYPE, Absent, compare, emit, environment, error_against, finish, random, tiny


class FtcLoss:
    def __init__(self, library, x, weight, targets):
        rows, hidden = x.shape
        vocab = weight.shape[0]
        self.library, self.x, self.targets = library, x, targets.int()
        self.nll, self.dx = torch.empty(rows, device=DEVICE), torch.empty_like(x)
        self.weight = ftc.Weight(format=FTC_DTYPE, rows=vocab, cols=hidden, row_stride=hidden, data=weight.data_ptr())
        self.params = ftc.CrossEntropyParams(dtype=FTC_DTYPE, rows=rows, x_row_stride=hidden, dx_row_stride=hidden,
                                             gradient_scale=1.0 / (targets >= 0).sum().item())
        self.bytes = library.ask("linear_cross_entropy_workspace_bytes", ftc.CrossEntropyWorkspaceParams(
            dtype=FTC_DTYPE, weight_format=FTC_DTYPE, rows=rows, hidden_size=hidden, vocab_size=vocab))
        self.workspace = torch.empty(self.bytes + 64, dtype=torch.uint8, device=DEVICE)

    def run(self):
        self.library.call("linear_cross_entropy", self.nll, None, self.dx, None, self.x, self.weight, self.targets, self.params, self.workspace,
                          self.bytes)


def full(x, weight, targets):
    leaf = x.detach().requires_grad_()
    F.cross_entropy(F.linear(leaf, weight).float(), targets, ignore_index=-100).backward()
    return leaf.grad


def chunked(x, weight, targets, rows=1024):
    """The gradient of each chunk's logits is written over them: one chunk of logits at a time."""
    valid = (targets >= 0).sum()
    dx, loss = torch.empty_like(x), torch.zeros((), device=x.device)
    for begin in range(0, x.shape[0], rows):
        part = slice(begin, begin + rows)
        logits = F.linear(x[part], weight).float()
        kept = targets[part] >= 0
        index = targets[part].clamp(min=0)[:, None]
        lse = logits.logsumexp(-1)
        loss += ((lse - logits.gather(1, index)[:, 0]) * kept).sum()
        gradient = (logits - lse[:, None]).exp_()
        gradient.scatter_add_(1, index, torch.full_like(index, -1, dtype=torch.float32))
        dx[part] = (gradient.mul_(kept[:, None] / valid)).to(x.dtype) @ weight
    return dx


def run(library, rows, hidden, vocab, ignored):
    shape = f"{rows} rows, {hidden} x {vocab}, {round(100 * ignored)} % ignored"
    x, weight = random(rows, hidden, seed=1), random(vocab, hidden, scale=0.02, seed=2)
    generator = torch.Generator(device=DEVICE).manual_seed(3)
    targets = torch.randint(0, vocab, (rows,), generator=generator, device=DEVICE)
    targets[:int(ignored * rows)] = -100
    kept = x[int(ignored * rows):]
    logits = torch.empty(min(1024, kept.shape[0]), vocab, dtype=DTYPE, device=DEVICE)

    def products():
        for begin in range(0, kept.shape[0], 1024):
            part = kept[begin:begin + 1024]
            torch.mm(part, weight.t(), out=logits[:part.shape[0]])
            logits[:part.shape[0]] @ weight

    try:
        layer = FtcLoss(library, x, weight, targets)
        ours = layer.run
    except ftc.Refused as error:
        layer, ours = None, Absent(str(error))
    fast = Absent("torch.compile needs a GPU here")
    if CUDA:
        optimised = torch.compile(full, mode="max-autotune-no-cudagraphs")
        fast = lambda: optimised(x, weight, targets)
    medians = compare("cross_entropy", {
        "two bare products": products, "finetunecore": ours, "torch full logits": lambda: full(x, weight, targets),
        "torch full logits compiled": fast, "torch chunked": lambda: chunked(x, weight, targets),
    }, flops=4 * kept.shape[0] * hidden * vocab, shape=shape, slice_seconds=0.1)
    if "finetunecore" in medians:
        mine = medians["finetunecore"]
        emit(case="cross_entropy ratio", shape=shape, over_products=round(mine / medians["two bare products"], 3), workspace_mib=round(layer.bytes / 2**20, 1),
             **{f"faster_than_{n.replace(' ', '_')}": round(t / mine, 3) for n, t in medians.items() if n.startswith("torch")})
        layer.run()
        library.synchronize()
        emit(case="cross_entropy correctness", shape=shape, against="torch chunked", **error_against(chunked(x, weight, targets), layer.dx))


def main():
    environment()
    library = ftc.Library()
    if tiny():
        run(library, 40, 64, 257, 0.25)
    else:
        for rows, ignored in ((8192, 0.0), (8192, 0.5), (2048, 0.0)):
            run(library, rows, 4096, 128256, ignored)


if __name__ == "__main__":
    main()
    finish()
