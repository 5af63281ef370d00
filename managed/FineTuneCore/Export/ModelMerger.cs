using FineTuneCore.Files;
using FineTuneCore.Generation;
using FineTuneCore.Models;

namespace FineTuneCore.Export;

/// <summary>How far logits are apart: the largest and the mean absolute difference.</summary>
internal readonly record struct LogitDifference(double Max, double Mean);

/// <summary>What a merge did and how well.</summary>
internal sealed record MergeReport(string Output, int Layers, string Type, double MaxLogitDifference, int ProbeTokens, LogitDifference? Drift);

/// <summary>Merges an adapter into its base and holds the result's logits against the unmerged model's.</summary>
internal static class ModelMerger
{
    private const int ProbeTokens = 64;

    /// <summary>
    /// Writes the merged model. Without <paramref name="onto"/> the base is the one the adapter was trained on: for a QLoRA run
    /// the dequantised NF4 base, since the adapter has learnt to mend its errors.
    /// </summary>
    internal static MergeReport Merge(string model, string? adapter, string? onto, string output, string type, int threads, string device = "auto")
    {
        if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any())
            throw FineTuneException.Usage($"{output} exists and is not empty; choose a new directory for the merged model.");
        ElementType? elementType = type == "auto" ? null : Enum.Parse<ElementType>(type, ignoreCase: true);
        ModelReference reference = ModelReference.Resolve(model, adapter);
        if (reference.Adapter is null) throw FineTuneException.Usage($"{model} has no adapter to merge; name one with --adapter.");
        if (onto is null) return MergeOnto(reference, output, elementType, device, threads, trainedLogits: null);

        float[][] trained;
        using (LanguageModel original = Load(reference, device, threads)) trained = Probe(original);
        // The other base keeps the weights it has: quantising it first would give the four-bit errors back.
        ModelReference other = ModelReference.Resolve(onto, reference.Adapter) with { Format = BaseFormat.AsStored };
        return MergeOnto(other, output, elementType, device, threads, trained);
    }

    private static MergeReport MergeOnto(ModelReference reference, string output, ElementType? type, string device, int threads, float[][]? trainedLogits)
    {
        float[][] unmerged;
        int layers;
        using (LanguageModel loaded = Load(reference, device, threads))
        {
            layers = loaded.Weights.Lora.Count;
            unmerged = Probe(loaded);
            ModelWriter.Write(output, loaded.Reference.Base, loaded.Weights, type, keepNf4: false);
        }

        using LanguageModel merged = Load(ModelReference.Resolve(output, adapter: null), device, threads);
        float[][] logits = Probe(merged);
        return new MergeReport(
            output, layers, merged.Weights.Config.Dtype ?? "float32", Compare(unmerged, logits).Max, logits.Length,
            trainedLogits is null ? null : Compare(trainedLogits, logits));
    }

    /// <summary>In fp32 on every device: a merge is rounded once, when it is written.</summary>
    private static LanguageModel Load(ModelReference reference, string device, int threads) =>
        LanguageModel.Load(reference, chatTemplate: null, device, "fp32", threads);

    /// <summary>Logits of every position of a fixed pseudo-random sequence.</summary>
    internal static float[][] Probe(LanguageModel model)
    {
        ModelConfig config = model.Weights.Config;
        int rows = Math.Min(ProbeTokens, config.MaxPositionEmbeddings);
        var random = new SplitMix64(1);
        int[] ids = [.. Enumerable.Range(0, rows).Select(_ => random.NextBelow(config.VocabSize))];
        using var decoder = new Decoder(model.Weights, BufferMode.Inference, rows, rows);
        decoder.Evaluate(
            new TokenBatch
            {
                Rows = rows,
                Ids = ids,
                Positions = Enumerable.Range(0, rows).ToArray(),
                Targets = Enumerable.Repeat(-100, rows).ToArray(),
                SegmentStarts = new int[rows],
            },
            new float[rows]);
        return [.. Enumerable.Range(0, rows).Select(row =>
        {
            var logits = new float[config.VocabSize];
            decoder.LogitsOf(row, logits);
            return logits;
        })];
    }

    private static LogitDifference Compare(float[][] a, float[][] b)
    {
        if (a[0].Length != b[0].Length) throw FineTuneException.Usage($"the two bases have vocabularies of {a[0].Length} and {b[0].Length} tokens; an adapter fits only models of one shape.");
        double max = 0, sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            for (int j = 0; j < a[i].Length; j++)
            {
                double difference = Math.Abs((double)a[i][j] - b[i][j]);
                max = Math.Max(max, difference);
                sum += difference;
            }
        }

        return new LogitDifference(max, sum / a.Length / a[0].Length);
    }
}
