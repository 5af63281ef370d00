using System.Runtime.InteropServices;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Adapters;

/// <summary>PEFT adapter directories: adapter_config.json and adapter_model.safetensors, fp32, names as PEFT spells them.</summary>
internal static class AdapterFiles
{
    internal const string WeightsName = "adapter_model.safetensors";
    private const string Prefix = "base_model.model.";

    /// <summary>The adapter directory a user names: itself, or the adapter/ of a run or checkpoint.</summary>
    internal static string Resolve(string path)
    {
        foreach (string candidate in (string[])[path, Path.Combine(path, "adapter")])
            if (File.Exists(Path.Combine(candidate, PeftConfig.FileName))) return candidate;
        throw FineTuneException.Failed(
            $"{path} is not an adapter: neither it nor its adapter/ folder has {PeftConfig.FileName}. Name a PEFT adapter directory or a run directory of ftc train.");
    }

    /// <summary>Fills the parameter store of weights that were loaded with this adapter's options.</summary>
    /// <exception cref="FineTuneException">A tensor is missing, misshapen or belongs to no module: the adapter is for another model.</exception>
    internal static void Read(string directory, DecoderWeights weights)
    {
        string path = Path.Combine(directory, WeightsName);
        if (!File.Exists(path))
        {
            throw FineTuneException.Failed(File.Exists(Path.Combine(directory, "adapter_model.bin"))
                ? $"{directory} holds adapter_model.bin but no {WeightsName}. Pickle files can run code and are never loaded; save the adapter as safetensors."
                : $"{directory} has no {WeightsName}; the adapter is incomplete.");
        }

        using TensorFiles files = TensorFiles.Open(path);
        foreach (Parameter parameter in weights.Parameters.Parameters)
        {
            string name = FindName(files, parameter.Name)
                ?? throw FineTuneException.Failed($"{path} has no tensor '{Prefix}{parameter.Name}', which {PeftConfig.FileName} calls for; the adapter is for another model.");
            TensorEntry entry = files.Require(name);
            bool fits = entry.Shape is [long rows, long columns] ? rows == parameter.Rows && columns == parameter.Columns
                : entry.Shape is [long count] && parameter.Rows == 1 && count == parameter.Columns;
            if (!fits)
            {
                throw FineTuneException.Failed(
                    $"{path}: tensor '{name}' has shape {entry.ShapeText}, expected [{parameter.Rows}, {parameter.Columns}] for this base model; the adapter was trained on another model.");
            }

            Upload(weights, parameter, files, entry);
        }

        weights.ParametersChanged();
        if (files.Unread.FirstOrDefault() is { } unknown)
            throw FineTuneException.Failed($"{path} holds tensor '{unknown}', which matches no module of this base model; the adapter was trained on another model.");
    }

    /// <summary>Writes adapter_config.json and adapter_model.safetensors into an existing directory, flushed to disk.</summary>
    internal static void Write(string directory, DecoderWeights weights, LoraOptions options, string? baseModel)
    {
        AtomicFile.WriteDurably(
            Path.Combine(directory, PeftConfig.FileName), stream => stream.Write(PeftConfig.Write(options, baseModel, weights.Lora.Keys)));
        IEnumerable<TensorToWrite> tensors = weights.Parameters.Parameters.Select(p => new TensorToWrite(
            Prefix + p.Name, ElementType.F32, ShapeOf(p), stream => stream.Write(Bytes(weights, p))));
        AtomicFile.WriteDurably(Path.Combine(directory, WeightsName), stream => SafetensorsWriter.Write(stream, tensors));
    }

    /// <summary>Norms and biases are vectors in files, [1, n] in the store.</summary>
    internal static long[] ShapeOf(Parameter p) => p.Rows == 1 && !p.Name.Contains(".lora_", StringComparison.Ordinal) ? [p.Columns] : [p.Rows, p.Columns];

    internal static byte[] Bytes(DecoderWeights weights, Parameter parameter)
    {
        var values = new float[parameter.Count];
        weights.Backend.Download<float>(values, weights.Parameters.Value(parameter));
        return MemoryMarshal.AsBytes<float>(values).ToArray();
    }

    private static string? FindName(TensorFiles files, string parameter)
    {
        // Older PEFT versions put ".modules_to_save" in; some files lack the prefix.
        int dot = parameter.LastIndexOf('.');
        string saved = $"{parameter[..dot]}.modules_to_save{parameter[dot..]}";
        return ((string[])[Prefix + parameter, parameter, Prefix + saved]).FirstOrDefault(files.Contains);
    }

    private static void Upload(DecoderWeights weights, Parameter parameter, TensorFiles files, TensorEntry entry)
    {
        if (entry.Type is not (ElementType.F32 or ElementType.BF16 or ElementType.F16))
            throw FineTuneException.Failed($"{files.FileOf(entry.Name)}: tensor '{entry.Name}' is {entry.Type}, expected F32, BF16 or F16.");
        var values = new float[parameter.Count];
        FloatConversion.ToF32(values, files.Bytes(entry.Name), entry.Type);
        Tensor destination = weights.Parameters.Value(parameter);
        weights.Backend.Upload<float>(destination, values);
    }
}
