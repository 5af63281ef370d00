using FineTuneCore.Models;

namespace FineTuneCore.TinyBase;

/// <summary>Shape and first weights of the tiny base model: a Llama of 3.3 million parameters, head tied to the embedding.</summary>
internal static class TinyModel
{
    internal const int VocabSize = 2048;

    internal static readonly RandomModelShape Shape = new()
    {
        HiddenSize = 256, IntermediateSize = 640, Layers = 4, Heads = 8, KeyValueHeads = 4, ContextLength = 512,
    };

    /// <summary>Writes config.json and random weights in bf16.</summary>
    internal static void WriteRandom(string directory, ulong seed) => RandomModel.WriteWeights(directory, Shape, VocabSize, seed);
}
