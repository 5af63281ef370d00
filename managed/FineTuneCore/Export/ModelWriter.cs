using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Export;

/// <summary>
/// Writes a model directory from loaded weights: adapters merged in, trained weights as they are now, the rest as the source stores it.
/// Linear layers held as NF4 are written as bitsandbytes NF4, or dequantised. Arithmetic is fp32 with one rounding at the end.
/// </summary>
internal sealed class ModelWriter
{
    private const long ShardBytes = 5_000_000_000; // as transformers cuts them
    private const long ChunkElements = 1 << 20;

    private readonly ModelDirectory _source;
    private readonly DecoderWeights _weights;
    private readonly TensorFiles _files;
    private readonly ElementType? _type;
    private readonly bool _keepNf4;

    private ModelWriter(ModelDirectory source, DecoderWeights weights, TensorFiles files, ElementType? type, bool keepNf4) =>
        (_source, _weights, _files, _type, _keepNf4) = (source, weights, files, type, keepNf4);

    /// <summary>Writes the directory whole or not at all.</summary>
    /// <param name="path">The new model directory.</param>
    /// <param name="source">Where the base came from: its other files are copied.</param>
    /// <param name="weights">Loaded from it.</param>
    /// <param name="type">F32, BF16 or F16 for all float tensors; null = as the source stores them (NF4: as it says it was).</param>
    /// <param name="keepNf4">NF4 layers stay NF4; otherwise they are dequantised.</param>
    internal static void Write(string path, ModelDirectory source, DecoderWeights weights, ElementType? type, bool keepNf4) =>
        AtomicFile.WriteDirectory(path, directory => WriteInto(directory, source, weights, type, keepNf4));

    /// <summary>Writes into a directory that exists and is still temporary.</summary>
    internal static void WriteInto(string directory, ModelDirectory source, DecoderWeights weights, ElementType? type, bool keepNf4)
    {
        using TensorFiles files = TensorFiles.Open(source.WeightFiles());
        var writer = new ModelWriter(source, weights, files, type, keepNf4);
        writer.WriteShards(directory, [.. writer.Tensors()]);
        AtomicFile.WriteDurably(Path.Combine(directory, "config.json"), stream => stream.Write(writer.Config()));
        foreach (string file in Directory.EnumerateFiles(source.Path).Where(IsCompanion))
            AtomicFile.WriteDurably(Path.Combine(directory, Path.GetFileName(file)), stream => stream.Write(File.ReadAllBytes(file)));
    }

    /// <summary>Files that go with any weights of the model.</summary>
    private static bool IsCompanion(string path) => Path.GetFileName(path) is
        "tokenizer.json" or "tokenizer.model" or "tokenizer_config.json" or "special_tokens_map.json" or "added_tokens.json" or "vocab.json"
        or "merges.txt" or "generation_config.json" or "chat_template.jinja" or "chat_template.json" or "LICENSE" or "LICENSE.txt";

    private IEnumerable<TensorToWrite> Tensors()
    {
        foreach ((ModuleSpec module, WeightMatrix weight) in _weights.Matrices)
            foreach (TensorToWrite tensor in MatrixTensors(module, weight)) yield return tensor;
        foreach (ModuleSpec module in WeightNames.Modules(_weights.Config))
        {
            if (module.Kind == WeightKind.Norm) yield return VectorTensor(module.WeightName, module.Columns);
            if (module.Bias) yield return VectorTensor(module.BiasName, module.Rows);
        }
    }

    private IEnumerable<TensorToWrite> MatrixTensors(ModuleSpec module, WeightMatrix weight)
    {
        bool changed = _weights.Lora.ContainsKey(module.Name) || _weights.Parameters.Find(module.WeightName) is not null;
        if (weight.Format == WeightFormat.Nf4 && _keepNf4 && !changed) return Nf4Tensors(module, weight);
        ElementType type = _type ?? StoredType(module.WeightName);
        return
        [
            new TensorToWrite(module.WeightName, type, [module.Rows, module.Columns], stream => WriteMatrix(stream, module, weight, type)),
        ];
    }

    private TensorToWrite VectorTensor(string name, long count)
    {
        ElementType type = _type ?? StoredType(name);
        return new TensorToWrite(name, type, [count], stream =>
        {
            var values = new float[count];
            if (_weights.Parameters.Find(name) is { } trained) _weights.Backend.Download<float>(values, _weights.Parameters.Value(trained));
            else FloatConversion.ToF32(values, _files.Bytes(name), _files.Require(name).Type);
            WriteFloats(stream, values, type);
        });
    }

    /// <summary>W, plus s · B A where an adapter sits, some rows at a time.</summary>
    private void WriteMatrix(Stream stream, ModuleSpec module, WeightMatrix weight, ElementType type)
    {
        IBackend backend = _weights.Backend;
        long step = Math.Max(1, ChunkElements / module.Columns);
        var values = new float[Math.Min(step, module.Rows) * module.Columns];
        using DeviceBuffer chunk = backend.Allocate(values.Length * 4L, "merging");
        using MergeDelta? delta = _weights.Lora.TryGetValue(module.Name, out LoraLayer? lora) ? new MergeDelta(_weights, lora, step) : null;
        for (long row = 0; row < module.Rows; row += step)
        {
            long rows = Math.Min(step, module.Rows - row);
            var y = new Tensor(chunk, 0, rows, module.Columns, module.Columns, DType.F32);
            backend.Dequantize(y, weight, row, rows);
            delta?.AddTo(y, row);
            Span<float> part = values.AsSpan(0, (int)(rows * module.Columns));
            backend.Download(part, y);
            WriteFloats(stream, part, type);
        }
    }

    private IEnumerable<TensorToWrite> Nf4Tensors(ModuleSpec module, WeightMatrix weight)
    {
        string name = module.WeightName;
        bool nested = !weight.NestedAbsmax.IsNone;
        var state = new Nf4State(
            [module.Rows, module.Columns], weight.BlockSize, nested ? weight.NestedBlockSize : 0, weight.NestedOffset, TorchName(_type ?? StoredType(name)));
        byte[] json = state.ToJson();
        yield return new TensorToWrite(name, ElementType.U8, [weight.Data.Columns, 1], Raw(weight.Data));
        yield return new TensorToWrite($"{name}.absmax", nested ? ElementType.U8 : ElementType.F32, [weight.Absmax.Columns], Raw(weight.Absmax));
        yield return new TensorToWrite($"{name}.quant_map", ElementType.F32, [16], Raw(weight.QuantMap));
        if (nested)
        {
            yield return new TensorToWrite($"{name}.nested_absmax", ElementType.F32, [weight.NestedAbsmax.Columns], Raw(weight.NestedAbsmax));
            yield return new TensorToWrite($"{name}.nested_quant_map", ElementType.F32, [256], Raw(weight.NestedMap));
        }

        yield return new TensorToWrite(WeightLoader.QuantStateName(name), ElementType.U8, [json.Length], stream => stream.Write(json));
    }

    private Action<Stream> Raw(Tensor vector) => stream =>
    {
        var bytes = new byte[vector.Columns * vector.DType.Size()];
        _weights.Backend.Download<byte>(bytes, vector);
        stream.Write(bytes);
    };

    /// <summary>The float type the source keeps this tensor in; for NF4 the one it was quantised from.</summary>
    private ElementType StoredType(string name)
    {
        string state = WeightLoader.QuantStateName(name);
        if (_files.Find(state) is null) return _files.Require(name).Type is var type && type == ElementType.F64 ? ElementType.F32 : type;
        return Nf4State.Parse(_files.Bytes(state), _files.FileOf(state), name).DType switch
        {
            "bfloat16" => ElementType.BF16,
            "float16" => ElementType.F16,
            _ => ElementType.F32,
        };
    }

    private static string TorchName(ElementType type) => type switch
    {
        ElementType.BF16 => "bfloat16",
        ElementType.F16 => "float16",
        _ => "float32",
    };

    private static void WriteFloats(Stream stream, ReadOnlySpan<float> values, ElementType type)
    {
        if (type == ElementType.F32)
        {
            stream.Write(MemoryMarshal.AsBytes(values));
            return;
        }

        var bytes = new byte[values.Length * type.Size()];
        FloatConversion.FromF32(bytes, values, type);
        stream.Write(bytes);
    }

    private static void WriteShards(string directory, IReadOnlyList<TensorToWrite> tensors, List<List<TensorToWrite>> shards)
    {
        var index = new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = tensors.Sum(t => t.ByteCount) } };
        var map = new SortedDictionary<string, string>(StringComparer.Ordinal);
        for (int i = 0; i < shards.Count; i++)
        {
            string name = $"model-{i + 1:D5}-of-{shards.Count:D5}.safetensors";
            AtomicFile.WriteDurably(Path.Combine(directory, name), stream => SafetensorsWriter.Write(stream, shards[i]));
            foreach (TensorToWrite tensor in shards[i]) map[tensor.Name] = name;
        }

        index["weight_map"] = new JsonObject(map.Select(p => KeyValuePair.Create<string, JsonNode?>(p.Key, p.Value)));
        AtomicFile.WriteDurably(
            Path.Combine(directory, "model.safetensors.index.json"), stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(index.ToJsonString())));
    }

    private void WriteShards(string directory, IReadOnlyList<TensorToWrite> tensors)
    {
        var shards = new List<List<TensorToWrite>> { new() };
        long bytes = 0;
        foreach (TensorToWrite tensor in tensors)
        {
            if (bytes > 0 && bytes + tensor.ByteCount > ShardBytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(tensor);
            bytes += tensor.ByteCount;
        }

        if (shards.Count > 1) WriteShards(directory, tensors, shards);
        else AtomicFile.WriteDurably(Path.Combine(directory, "model.safetensors"), stream => SafetensorsWriter.Write(stream, tensors));
    }

    private byte[] Config()
    {
        JsonObject config = JsonNode.Parse(_weights.Config.Json)!.AsObject();
        bool quantised = _keepNf4 && _weights.Matrices.Any(m => m.Weight.Format == WeightFormat.Nf4);
        string dtype = TorchName(_type ?? StoredType(WeightNames.Layer(0, "self_attn.q_proj") + ".weight"));
        config[config.ContainsKey("dtype") && !config.ContainsKey("torch_dtype") ? "dtype" : "torch_dtype"] = dtype;
        config.Remove("quantization_config");
        if (quantised) config["quantization_config"] = QuantizationConfig(dtype);
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true })) config.WriteTo(json);
        return buffer.ToArray();
    }

    /// <summary>What transformers needs to load the directory as 4-bit.</summary>
    private static JsonObject QuantizationConfig(string dtype) => new()
    {
        ["_load_in_4bit"] = true,
        ["_load_in_8bit"] = false,
        ["bnb_4bit_compute_dtype"] = dtype,
        ["bnb_4bit_quant_storage"] = "uint8",
        ["bnb_4bit_quant_type"] = "nf4",
        ["bnb_4bit_use_double_quant"] = true,
        ["llm_int8_enable_fp32_cpu_offload"] = false,
        ["llm_int8_has_fp16_weight"] = false,
        ["llm_int8_skip_modules"] = null,
        ["llm_int8_threshold"] = 6.0,
        ["load_in_4bit"] = true,
        ["load_in_8bit"] = false,
        ["quant_method"] = "bitsandbytes",
    };
}
