using System.Text.Json;
using FineTuneCore.Tests.Tokenization;
using FineTuneCore.Tokenization;
using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tests.Data;

/// <summary>A tokenizer of single bytes with special tokens, so that a mask can be read as the text it covers.</summary>
internal sealed class TinyTokenizer : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public TinyTokenizer(bool addsBos = true)
    {
        string[] special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>", "<|assistant|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"];
        string vocab = string.Join(", ", Enumerable.Range(0, 256).Select(b => $"{JsonSerializer.Serialize(ByteAlphabet.ToCharacter((byte)b).ToString())}: {b}"));
        string added = string.Join(", ", special.Select((token, i) => $$"""{"id": {{256 + i}}, "content": "{{token}}", "special": true}"""));
        string post = addsBos
            ? """{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [256]}}}"""
            : "null";
        _directory.File("tokenizer_config.json", """{"bos_token": "<s>", "eos_token": "</s>"}""");
        _directory.File("tokenizer.json", $$"""
            {"added_tokens": [{{added}}], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "post_processor": {{post}},
             "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": { {{vocab}} }, "merges": [] } }
            """);
        Tokenizer = Tokenizer.Load(_directory.Path);
    }

    public Tokenizer Tokenizer { get; }

    /// <summary>The text with its trained tokens in brackets.</summary>
    public string Show(int[] ids, byte[] mask)
    {
        string text = "";
        for (int i = 0; i < ids.Length; i++)
        {
            if (mask[i] == 1 && (i == 0 || mask[i - 1] == 0))
                text += "[";
            text += Tokenizer.Decode([ids[i]], false);
            if (mask[i] == 1 && (i + 1 == ids.Length || mask[i + 1] == 0))
                text += "]";
        }
        return text;
    }

    public void Dispose() => _directory.Dispose();
}
