using System.Text;
using System.Text.Json;
using FineTuneCore.Files;

namespace FineTuneCore.Models;

/// <summary>
/// What <c>config.json</c> says about a decoder, spelled like its keys. One record serves every supported <c>model_type</c>;
/// <see cref="Architectures"/> fills what a family fixes in code rather than in the file.
/// </summary>
internal sealed record ModelConfig
{
    internal required string ModelType { get; init; }

    internal required int HiddenSize { get; init; }

    internal required int IntermediateSize { get; init; }

    internal required int NumHiddenLayers { get; init; }

    internal required int NumAttentionHeads { get; init; }

    internal required int NumKeyValueHeads { get; init; }

    internal required int HeadDim { get; init; }

    internal required int VocabSize { get; init; }

    internal required int MaxPositionEmbeddings { get; init; }

    internal required float RmsNormEps { get; init; }

    internal required RopeConfig Rope { get; init; }

    internal bool TieWordEmbeddings { get; init; }

    /// <summary>Bias on q, k and v (Qwen2; Llama's attention_bias).</summary>
    internal bool QkvBias { get; init; }

    /// <summary>Bias on the attention's output projection (Llama's attention_bias).</summary>
    internal bool OutputBias { get; init; }

    /// <summary>Bias on gate, up and down (Llama's mlp_bias).</summary>
    internal bool MlpBias { get; init; }

    /// <summary>RMSNorm over head_dim on q and k before RoPE (Qwen3).</summary>
    internal bool QkNorm { get; init; }

    /// <summary>Keys a row may look back, itself included, per layer; 0 = all.</summary>
    internal required int[] SlidingWindow { get; init; }

    internal int[] EosTokenIds { get; init; } = [];

    internal int? BosTokenId { get; init; }

    /// <summary>The text of config.json as read, for writing a merged or quantised model.</summary>
    internal required string Json { get; init; }

    /// <summary>The dtype the checkpoint names (torch_dtype or dtype), or null.</summary>
    internal string? Dtype { get; init; }

    internal int QueryWidth => NumAttentionHeads * HeadDim;

    internal int KeyValueWidth => NumKeyValueHeads * HeadDim;

    /// <summary>Weights in all tensors of the model, the tied head counted once.</summary>
    internal long ParameterCount
    {
        get
        {
            long attention = (long)HiddenSize * (2 * QueryWidth + 2 * KeyValueWidth)
                + (QkvBias ? QueryWidth + 2 * KeyValueWidth : 0) + (OutputBias ? HiddenSize : 0) + (QkNorm ? 2 * HeadDim : 0);
            long mlp = 3L * HiddenSize * IntermediateSize + (MlpBias ? 2 * IntermediateSize + HiddenSize : 0);
            long layers = NumHiddenLayers * (attention + mlp + 2L * HiddenSize);
            return layers + HiddenSize + (long)VocabSize * HiddenSize * (TieWordEmbeddings ? 1 : 2);
        }
    }

    /// <summary>Reads and checks a config.json.</summary>
    /// <exception cref="FineTuneException">Not JSON, an unknown architecture, or a value that does not make a decoder.</exception>
    internal static ModelConfig Load(string path)
    {
        string text;
        try
        {
            text = File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw FineTuneException.Failed($"{path} cannot be read: {e.Message}", e);
        }

        return Parse(text, path);
    }

    internal static ModelConfig Parse(string text, string path)
    {
        try
        {
            using JsonDocument document = StrictJson.Parse(Encoding.UTF8.GetBytes(text));
            return Architectures.Read(new ConfigReader(document.RootElement, path), text);
        }
        catch (JsonException e)
        {
            throw FineTuneException.Failed($"{path} is not valid JSON ({e.Message}).", e);
        }
    }
}
