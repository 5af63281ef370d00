"""Writes a Llama model of any size with random weights as a Hugging Face directory, a training file beside it.

    random_model.py 8b|1b|tiny DIRECTORY TOKENIZER_DIRECTORY      the tokenizer is copied; its ids lie inside the vocabulary
"""
import json
import shutil
import struct
import sys
from pathlib import Path

import torch

# hidden, intermediate, layers, heads, key-value heads, vocabulary
SHAPES = {"8b": (4096, 14336, 32, 32, 8, 128256), "1b": (2048, 8192, 16, 32, 8, 128256), "tiny": (64, 160, 2, 4, 2, 2048)}


def config(shape):
    hidden, intermediate, layers, heads, key_value_heads, vocab = SHAPES[shape]
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=vocab, hidden_size=hidden, intermediate_size=intermediate,
                num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=key_value_heads, head_dim=hidden // heads,
                hidden_act="silu", max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=500000.0, tie_word_embeddings=False,
                attention_bias=False, mlp_bias=False, bos_token_id=0, eos_token_id=[0, 2], torch_dtype="bfloat16")


def save(path, tensors):
    """safetensors: length of the header, header, data.  https://huggingface.co/docs/safetensors"""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        header[name] = dict(dtype="BF16", shape=list(t.shape), data_offsets=[offset, offset + 2 * t.numel()])
        offset += 2 * t.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            t.contiguous().view(torch.int16).cpu().numpy().tofile(file)
    return offset


def write(shape, directory, tokenizer):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    hidden, intermediate, layers, heads, key_value_heads, vocab = SHAPES[shape]
    head_dim = hidden // heads
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    random = lambda *size: (torch.randn(*size, device=device) * 0.02).to(torch.bfloat16)
    ones = lambda n: torch.ones(n, device=device, dtype=torch.bfloat16)
    shards = [("embedding", lambda: {"model.embed_tokens.weight": random(vocab, hidden)})]
    for i in range(layers):
        at = f"model.layers.{i}."
        shards.append((f"layer-{i:03}", lambda at=at: {
            at + "input_layernorm.weight": ones(hidden), at + "self_attn.q_proj.weight": random(heads * head_dim, hidden),
            at + "self_attn.k_proj.weight": random(key_value_heads * head_dim, hidden),
            at + "self_attn.v_proj.weight": random(key_value_heads * head_dim, hidden),
            at + "self_attn.o_proj.weight": random(hidden, heads * head_dim), at + "post_attention_layernorm.weight": ones(hidden),
            at + "mlp.gate_proj.weight": random(intermediate, hidden), at + "mlp.up_proj.weight": random(intermediate, hidden),
            at + "mlp.down_proj.weight": random(hidden, intermediate)}))
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
