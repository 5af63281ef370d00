"""Writes a Llama model of any size with random weights as a Hugging Face directory, a training file beside it.

    random_model.py SHAPE[-nf4] DIRECTORY TOKENIZER_DIRECTORY      the tokenizer is copied; its ids lie inside the vocabulary

`-nf4` stores the linear layers as bitsandbytes does with double quantisation, random codes and scales: no wide matrix exists on the way.
"""
import json
import shutil
import struct
import sys
from pathlib import Path

import torch

# hidden, intermediate, layers, heads, key-value heads, vocabulary
SHAPES = {"70b": (8192, 28672, 80, 64, 8, 128256), "8b": (4096, 14336, 32, 32, 8, 128256), "7b": (4096, 11008, 32, 32, 32, 32000), "1b": (2048, 8192, 16, 32, 8, 128256), "tiny": (64, 160, 2, 4, 2, 2048)}


NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
OFFSET = 0.05  # the mean of the scales


def config(shape):
    hidden, intermediate, layers, heads, key_value_heads, vocab = SHAPES[shape.removesuffix("-nf4")]
    configuration = dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=vocab, hidden_size=hidden, intermediate_size=intermediate,
                         num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=key_value_heads, head_dim=hidden // heads,
                         hidden_act="silu", max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=500000.0, tie_word_embeddings=False,
                         attention_bias=False, mlp_bias=False, bos_token_id=0, eos_token_id=[0, 2], torch_dtype="bfloat16")
    if shape.endswith("-nf4"):
        configuration["quantization_config"] = dict(quant_method="bitsandbytes", load_in_4bit=True, load_in_8bit=False, bnb_4bit_compute_dtype="bfloat16",
                                                    bnb_4bit_quant_storage="uint8", bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    return configuration


def packed(name, rows, columns, device):
    """The tensors of one linear layer, its values spread evenly over the 16 codes, scales between 0 and 2 OFFSET."""
    blocks = -(-rows * columns // 64)
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [rows, columns], "nested_blocksize": 256,
                        "nested_dtype": "float32", "nested_offset": OFFSET})
    byte = lambda *size: torch.randint(0, 256, size, device=device, dtype=torch.uint8)
    return {name: byte(-(-rows * columns // 2), 1), name + ".absmax": byte(blocks), name + ".nested_absmax": torch.full((-(-blocks // 256),), OFFSET),
            name + ".nested_quant_map": torch.linspace(-1, 1, 256), name + ".quant_map": torch.tensor(NF4),
            name + ".quant_state.bitsandbytes__nf4": torch.tensor(list(state.encode()), dtype=torch.uint8)}


TYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.uint8: "U8"}


def save(path, tensors):
    """safetensors: length of the header, header, data.  https://huggingface.co/docs/safetensors"""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    # Wide elements first, so that every tensor lies aligned.
    tensors = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))
    for name, t in tensors.items():
        size = t.numel() * t.element_size()
        header[name] = dict(dtype=TYPES[t.dtype], shape=list(t.shape), data_offsets=[offset, offset + size])
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            t.contiguous().view(torch.uint8).cpu().numpy().tofile(file)
    return offset


def write(shape, directory, tokenizer):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    hidden, intermediate, layers, heads, key_value_heads, vocab = SHAPES[shape.removesuffix("-nf4")]
    head_dim = hidden // heads
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    random = lambda *size: (torch.randn(*size, device=device) * 0.02).to(torch.bfloat16)
    ones = lambda n: torch.ones(n, device=device, dtype=torch.bfloat16)
    shards = [("embedding", lambda: {"model.embed_tokens.weight": random(vocab, hidden)})]
    linear = (lambda name, *size: packed(name, *size, device)) if shape.endswith("-nf4") else (lambda name, *size: {name: random(*size)})
    linears = {"self_attn.q_proj": (heads * head_dim, hidden), "self_attn.k_proj": (key_value_heads * head_dim, hidden),
               "self_attn.v_proj": (key_value_heads * head_dim, hidden), "self_attn.o_proj": (hidden, heads * head_dim),
               "mlp.gate_proj": (intermediate, hidden), "mlp.up_proj": (intermediate, hidden), "mlp.down_proj": (hidden, intermediate)}

    def layer(at):
        tensors = {at + "input_layernorm.weight": ones(hidden), at + "post_attention_layernorm.weight": ones(hidden)}
        for name, size in linears.items():
            tensors |= linear(f"{at}{name}.weight", *size)
        return tensors

    for i in range(layers):
        shards.append((f"layer-{i:03}", lambda at=f"model.layers.{i}.": layer(at)))
    shards.append(("head", lambda: {"model.norm.weight": ones(hidden), "lm_head.weight": random(vocab, hidden)}))
    weight_map, total = {}, 0
    for n, (_, make) in enumerate(shards):
        tensors, name = make(), f"model-{n + 1:05}-of-{len(shards):05}.safetensors"
        total += save(directory / name, tensors)
        weight_map |= {key: name for key in tensors}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    (directory / "config.json").write_text(json.dumps(config(shape), indent=2))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        if (Path(tokenizer) / file).exists():
            shutil.copy(Path(tokenizer) / file, directory)
    # Plain text, long enough that packed rows are full.
    words = "the model reads every word of this line and learns what comes next when a reader asks about it".split()
    with open(directory / "train.jsonl", "w") as file:
        for i in range(400):
            file.write(json.dumps({"text": " ".join(words[(i * 7 + j * (1 + i % 5)) % len(words)] for j in range(400))}) + "\n")
    return total


if __name__ == "__main__":
    print(f"{write(*sys.argv[1:4]) / 1e9:.2f} GB")
