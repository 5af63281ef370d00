using System.Text.Json;
using System.Text.Json.Nodes;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Models;

/// <summary>Random checkpoints of every supported family against a plain decoder in double precision that shares no code with the product.</summary>
public sealed class ArchitectureTests
{
    private const double Tolerance = 1e-4; // of fp32, times the largest logit where that exceeds 1

    public static TheoryData<string> Cases => [.. ArchitectureCases.All.Keys];

    [Theory]
    [MemberData(nameof(Cases))]
    public void LogitsOfEveryPositionAndTheLossEqualTheReference(string name)
    {
        ArchitectureCase @case = ArchitectureCases.All[name];
        using RandomCheckpoint checkpoint = @case.Write();
        int[] ids = Ids(@case, @case.Length, seed: 5);
        double[][] expected = new ReferenceDecoder(@case.Config, checkpoint.Values).Logits(ids);
        using TinyModel model = TinyModel.Load(checkpoint.Directory);
        using Decoder decoder = model.Decoder(BufferMode.Inference, ids.Length);
        var nll = new float[ids.Length];
        decoder.Evaluate(TinyModel.Batch(ids), nll);
        double[] likelihoods = ReferenceDecoder.NegativeLogLikelihoods(expected, ids);
        (nll.Sum(x => (double)x) / (ids.Length - 1)).Should().BeApproximately(likelihoods.Average(), 1e-5, "the mean cross-entropy");
        for (int i = 0; i < ids.Length; i++) Same(Logits(decoder, i, @case), expected[i], $"position {i}");
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void TwoSamplesInOneBatchEqualEachAlone(string name)
    {
        ArchitectureCase @case = ArchitectureCases.All[name];
        using RandomCheckpoint checkpoint = @case.Write();
        int first = @case.Length / 3, second = @case.Length - first;
        int[][] samples = [Ids(@case, first, seed: 6), Ids(@case, second, seed: 7)];
        using TinyModel model = TinyModel.Load(checkpoint.Directory);
        // Positions end with the longer sample; only the rows are those of both.
        using var decoder = new Decoder(model.Weights, BufferMode.Inference, first + second, second);
        decoder.Evaluate(
            new TokenBatch
            {
                Rows = first + second,
                Ids = [.. samples[0], .. samples[1]],
                Positions = [.. Enumerable.Range(0, first), .. Enumerable.Range(0, second)],
                Targets = [.. samples.SelectMany(s => s.Skip(1).Append(-100))],
                SegmentStarts = [.. Enumerable.Repeat(0, first), .. Enumerable.Repeat(first, second)],
            },
            new float[first + second]);
        var reference = new ReferenceDecoder(@case.Config, checkpoint.Values);
        double[][] together = [.. samples.SelectMany(reference.Logits)];
        for (int i = 0; i < together.Length; i++) Same(Logits(decoder, i, @case), together[i], $"row {i}");
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void CachedStepsEqualTheReference(string name)
    {
        ArchitectureCase @case = ArchitectureCases.All[name];
        using RandomCheckpoint checkpoint = @case.Write();
        int[] ids = Ids(@case, @case.Length, seed: 8);
        double[][] expected = new ReferenceDecoder(@case.Config, checkpoint.Values).Logits(ids);
        using TinyModel model = TinyModel.Load(checkpoint.Directory);
        using Decoder decoder = model.Decoder(BufferMode.Inference, ids.Length);
        using var cache = new KeyValueCache(model.Weights, ids.Length, ids.Length);
        var logits = new float[model.Weights.Config.VocabSize];
        int prompt = ids.Length / 2 + 1;
        for (int at = 0; at < ids.Length;)
        {
            int rows = Math.Min(ids.Length - at, at == 0 ? prompt : at == prompt ? 3 : 1); // a prompt, a few at once, then one by one
            decoder.ForwardCached(cache, ids.AsSpan(at, rows), logits);
            at += rows;
            Same(logits, expected[at - 1], $"position {at - 1}");
        }
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("mistral")]
    [InlineData("qwen2")]
    [InlineData("qwen3")]
    public void TheRowOfLogitsOnRecordIsTheReferencesAndOurs(string modelType)
    {
        // The recipe stands in tests/golden/models/README.md; the file was written by the reference decoder.
        JsonElement golden = Golden(modelType);
        string config = golden.GetProperty("config").GetRawText();
        using var checkpoint = new RandomCheckpoint(config, ElementType.BF16, shards: 2, golden.GetProperty("seed").GetInt32());
        int[] ids = golden.GetProperty("input_ids").Ints();
        double[] logits = golden.GetProperty("last_position_logits").Doubles();
        double[] reference = new ReferenceDecoder(config, checkpoint.Values).Logits(ids)[^1];
        for (int i = 0; i < logits.Length; i++) reference[i].Should().BeApproximately(logits[i], 1e-9, "logit {0} of the reference", i);
        using TinyModel model = TinyModel.Load(checkpoint.Directory);
        using Decoder decoder = model.Decoder(BufferMode.Inference, ids.Length);
        decoder.Evaluate(TinyModel.Batch(ids), new float[ids.Length]);
        var ours = new float[logits.Length];
        decoder.LogitsOf(ids.Length - 1, ours);
        Same(ours, logits, "the last position");
    }

    /// <summary>Writes the golden rows anew; run on purpose only, see tests/golden/models/README.md.</summary>
    [Fact(Explicit = true)]
    public void GoldenRowsAreWrittenOnRequest()
    {
        foreach (string modelType in (string[])["llama", "mistral", "qwen2", "qwen3"])
        {
            string config = ArchitectureCases.All[$"{modelType} golden"].Config;
            using var checkpoint = new RandomCheckpoint(config, ElementType.BF16, shards: 2, seed: 17);
            int[] ids = [.. Enumerable.Range(0, 24).Select(i => (i * 29 + 3) % 61)];
            double[] row = new ReferenceDecoder(config, checkpoint.Values).Logits(ids)[^1];
            var file = new JsonObject
            {
                ["config"] = JsonNode.Parse(config), ["seed"] = 17, ["input_ids"] = new JsonArray([.. ids.Select(i => (JsonNode)i)]),
                ["last_position_logits"] = new JsonArray([.. row.Select(v => (JsonNode)v)]),
            };
            File.WriteAllText(GoldenPath(modelType), file.ToJsonString(new JsonSerializerOptions { WriteIndented = false }) + "\n");
        }
    }

    private static void Same(float[] actual, double[] expected, string where)
    {
        double tolerance = Tolerance * Math.Max(1, expected.Max(Math.Abs));
        for (int i = 0; i < expected.Length; i++)
            if (!(Math.Abs(actual[i] - expected[i]) <= tolerance)) Assert.Fail($"{where}, logit {i}: {actual[i]}, expected {expected[i]} within {tolerance}");
    }

    private static float[] Logits(Decoder decoder, int row, ArchitectureCase @case)
    {
        var logits = new float[@case.Vocab];
        decoder.LogitsOf(row, logits);
        return logits;
    }

    private static int[] Ids(ArchitectureCase @case, int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(@case.Vocab))];
    }

    private static JsonElement Golden(string modelType)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(GoldenPath(modelType)));
        return document.RootElement.Clone();
    }

    private static string GoldenPath(string modelType)
    {
        for (string? at = AppContext.BaseDirectory; at is not null; at = Path.GetDirectoryName(at))
            if (File.Exists(Path.Combine(at, "FineTuneCore.sln"))) return Path.Combine(at, "tests", "golden", "models", $"{modelType}.json");
        throw new InvalidOperationException("the tests do not run inside the repository");
    }
}
