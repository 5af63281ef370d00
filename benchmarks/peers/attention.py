"""Causal attention, forward and forward+backward, 32 query and 8 key-value heads of 128, against PyTorch's SDPA.  attention.py [--tiny]"""
import torch
import torch.nn.functional as F

import ftc_library as ftc
from measure import CUDA, DEVICE, DTYPE, FTC_DTYPE, Absent, compare, emit, environment, error_against, finish, random, tiny


class FtcAttention:
    def __init__(self, library, q, k, v, dout, heads, key_value_heads):
        tokens, width = q.shape
        key_width, head_dim = k.shape[1], width // heads
        self.library, self.inputs, self.dout = library, (q, k, v), dout
        self.o, self.lse = torch.empty_like(q), torch.empty(tokens, heads, device=DEVICE)
        self.gradients = [torch.empty_like(t) for t in (q, k, v)]
        self.params = ftc.AttentionParams(dtype=FTC_DTYPE, query_rows=tokens, key_rows=tokens, heads=heads, key_value_heads=key_value_heads,
                                          head_dim=head_dim, scale=head_dim**-0.5, q_row_stride=width, o_row_stride=width, dq_row_stride=width,
                                          do_row_stride=width, k_row_stride=key_width, v_row_stride=key_width, dk_row_stride=key_width,
                                          dv_row_stride=key_width)
        self.bytes = max(library.ask("attention_workspace_bytes", self.params, ftc.I32(backward)) for backward in (0, 1))
        self.workspace = torch.empty(self.bytes + 64, dtype=torch.uint8, device=DEVICE)

    def forward(self):
        self.library.call("attention_forward", self.o, self.lse, *self.inputs, None, self.params, self.workspace, self.bytes)

    def both(self):
        self.forward()
        self.library.call("attention_backward", *self.gradients, self.dout, *self.inputs, self.o, self.lse, None, self.params, self.workspace,
                          self.bytes)


def plain(q, k, v, heads, key_value_heads):
    """The definition, in fp64, of flat [tokens, width] inputs."""
    split = lambda t, n: t.double().view(t.shape[0], n, -1).transpose(0, 1)
    Q, K, V = split(q, heads), split(k, key_value_heads), split(v, key_value_heads)
    K, V = (t.repeat_interleave(heads // key_value_heads, 0) for t in (K, V))
    scores = Q @ K.transpose(1, 2) * Q.shape[-1]**-0.5
    mask = torch.ones(scores.shape[1:], dtype=torch.bool, device=q.device).triu(1)
    return (scores.masked_fill(mask, -torch.inf).softmax(-1) @ V).transpose(0, 1).reshape(q.shape)


def run(library, tokens, heads, key_value_heads, head_dim):
    shape = f"{tokens} tokens, {heads}/{key_value_heads} heads of {head_dim}, causal"
    q, dout = random(tokens, heads * head_dim, seed=1), random(tokens, heads * head_dim, seed=4)
    k, v = random(tokens, key_value_heads * head_dim, seed=2), random(tokens, key_value_heads * head_dim, seed=3)
    heads_first = lambda t, n: t.view(1, tokens, n, head_dim).transpose(1, 2)

    def sdpa(backend, backward):
        if not hasattr(F, "scaled_dot_product_attention"):
            return Absent("this torch has no scaled_dot_product_attention")
        from torch.nn.attention import SDPBackend, sdpa_kernel
        leaves = [t.clone().requires_grad_(backward) for t in (q, k, v)]
        upstream = heads_first(dout, heads)
        expanded = backend == "EFFICIENT_ATTENTION"  # knows no grouped heads

        def body():
            Q, K, V = heads_first(leaves[0], heads), heads_first(leaves[1], key_value_heads), heads_first(leaves[2], key_value_heads)
            if expanded:
                K, V = (t.repeat_interleave(heads // key_value_heads, 1) for t in (K, V))
            with sdpa_kernel(getattr(SDPBackend, backend)):
                o = F.scaled_dot_product_attention(Q, K, V, is_causal=True, enable_gqa=not expanded and heads != key_value_heads)
            if backward:
                for leaf in leaves:
                    leaf.grad = None
                o.backward(upstream)

        return body

    try:
        layer = FtcAttention(library, q, k, v, dout, heads, key_value_heads)
        forward, both = layer.forward, layer.both
    except ftc.Refused as error:
        layer, forward, both = None, Absent(str(error)), Absent(str(error))
    flops = 2 * heads * head_dim * tokens * tokens
    for case, ours, backward, factor in (("attention forward", forward, False, 1), ("attention forward+backward", both, True, 3.5)):
        medians = compare(case, {"finetunecore": ours, "sdpa flash": sdpa("FLASH_ATTENTION", backward), "sdpa cudnn": sdpa("CUDNN_ATTENTION", backward)},
                          flops=factor * flops, shape=shape)
        if "finetunecore" in medians:
            emit(case=case + " ratio", shape=shape, **{f"speed_over_{name.replace(' ', '_')}": round(t / medians["finetunecore"], 3)
                                                       for name, t in medians.items() if name != "finetunecore"})
    if layer is not None and tokens <= 2048:
        layer.both()
        library.synchronize()
        leaves = [t.double().requires_grad_() for t in (q, k, v)]
        exact = plain(*leaves, heads, key_value_heads)
        exact.backward(dout.double())
        emit(case="attention correctness", output="o", shape=shape, **error_against(exact.detach(), layer.o))
        for name, leaf, value in zip(("dq", "dk", "dv"), leaves, layer.gradients):
            emit(case="attention correctness", output=name, shape=shape, **error_against(leaf.grad, value))


def main():
    environment()
    library = ftc.Library()
    for tokens in [33] if tiny() else [2048, 8192, 16384]:
        run(library, tokens, *((4, 2, 64) if tiny() else (32, 8, 128)))


if __name__ == "__main__":
    main()
    finish()
