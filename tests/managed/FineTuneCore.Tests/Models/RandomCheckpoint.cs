using System.Text.Json.Nodes;
using FineTuneCore.Files;

namespace FineTuneCore.Tests.Models;

/// <summary>A model directory with random weights in the shape a config.json describes; goes with the test.</summary>
internal sealed class RandomCheckpoint : IDisposable
{
    private readonly (string Name, int[] Shape)[] _tensors;

    /// <summary>Writes config and weights, in <paramref name="shards"/> files.</summary>
    internal RandomCheckpoint(string config, ElementType type = ElementType.F32, int shards = 1, int seed = 1)
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("ftc-model-").FullName;
        File.WriteAllText(Path.Combine(Directory, "config.json"), config);
        _tensors = [.. new ReferenceConfig(config).Tensors()];
        var random = new Random(seed);
        foreach ((string name, int[] shape) in _tensors)
        {
            // Norms near one, matrices so that activations keep their size; rounded to the type, so that both sides see the same numbers.
            (double spread, double centre) = shape.Length == 2 ? (1 / Math.Sqrt(shape[1]), 0.0)
                : name.EndsWith(".bias", StringComparison.Ordinal) ? (0.3, 0) : (0.2, 1);
            Values[name] = Round(type, Fill(random, shape.Aggregate(1, (product, n) => product * n), spread, centre));
        }

        Write(type, shards);
    }

    internal string Directory { get; }

    /// <summary>Every tensor as fp32, row-major, under its name.</summary>
    internal Dictionary<string, float[]> Values { get; } = [];

    /// <summary>A llama's config.json with some keys changed or added.</summary>
    internal static string Llama(params (string Key, JsonNode? Value)[] changes)
    {
        var config = new JsonObject
        {
            ["model_type"] = "llama", ["hidden_size"] = 48, ["intermediate_size"] = 80, ["num_hidden_layers"] = 2, ["num_attention_heads"] = 4,
            ["num_key_value_heads"] = 2, ["vocab_size"] = 67, ["max_position_embeddings"] = 64, ["rms_norm_eps"] = 1e-5, ["rope_theta"] = 10000.0,
            ["tie_word_embeddings"] = false, ["hidden_act"] = "silu",
        };
        foreach ((string key, JsonNode? value) in changes) config[key] = value?.DeepClone();
        return config.ToJsonString();
    }

    public void Dispose() => System.IO.Directory.Delete(Directory, recursive: true);

    private static float[] Fill(Random random, int count, double spread, double centre) =>
        [.. Enumerable.Range(0, count).Select(_ => (float)(centre + spread * Math.Sqrt(3) * (2 * random.NextDouble() - 1)))];

    private static float[] Round(ElementType type, float[] values)
    {
        var bytes = new byte[values.Length * type.Size()];
        FloatConversion.FromF32(bytes, values, type);
        FloatConversion.ToF32(values, bytes, type);
        return values;
    }

    private void Write(ElementType type, int shards)
    {
        Dictionary<string, long[]> shapes = _tensors.ToDictionary(t => t.Name, t => t.Shape.Select(n => (long)n).ToArray());
        string[] names = [.. shapes.Keys.Order(StringComparer.Ordinal)];
        var map = new JsonObject();
        for (int shard = 0; shard < shards; shard++)
        {
            string file = shards == 1 ? "model.safetensors" : $"model-{shard + 1:D5}-of-{shards:D5}.safetensors";
            string[] mine = [.. names.Where((_, i) => i % shards == shard)];
            using FileStream stream = File.Create(Path.Combine(Directory, file));
            SafetensorsWriter.Write(stream, mine.Select(name => new TensorToWrite(name, type, shapes[name], s => s.Write(Bytes(type, Values[name])))));
            foreach (string name in mine) map[name] = file;
        }

        if (shards > 1) File.WriteAllText(Path.Combine(Directory, "model.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
    }

    private static byte[] Bytes(ElementType type, float[] values)
    {
        var bytes = new byte[values.Length * type.Size()];
        FloatConversion.FromF32(bytes, values, type);
        return bytes;
    }
}
