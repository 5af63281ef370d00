using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Training;

/// <summary>
/// checkpoint-N directories: weights, the optimiser's state, the trainer's and a checksum of each file. They appear whole (temporary directory,
/// fsync, rename), and one whose checksums do not hold is never resumed from.
/// </summary>
internal static class CheckpointFiles
{
    internal const string StateName = "state.json";
    private const string OptimizerName = "optimizer.safetensors";
    private const string ChecksumName = "checksums.json";

    internal static string PathOf(string runDirectory, int step) =>
        Path.Combine(runDirectory, $"checkpoint-{step.ToString(CultureInfo.InvariantCulture)}");

    /// <summary>Writes checkpoint-N of the run; an existing one of the same step is replaced.</summary>
    internal static string Write(string runDirectory, DecoderWeights weights, TrainerState state, Action<string> writeWeights, byte[] trainerState)
    {
        string path = PathOf(runDirectory, state.Step);
        AtomicFile.WriteDirectory(path, directory =>
        {
            writeWeights(directory);
            AtomicFile.WriteDurably(Path.Combine(directory, OptimizerName), stream => SafetensorsWriter.Write(stream, State(weights)));
            AtomicFile.WriteDurably(Path.Combine(directory, StateName), stream => stream.Write(state.ToJson()));
            AtomicFile.WriteDurably(Path.Combine(directory, "trainer_state.json"), stream => stream.Write(trainerState));
            byte[] checksums = Checksums(directory);
            AtomicFile.WriteDurably(Path.Combine(directory, ChecksumName), stream => stream.Write(checksums));
        });
        return path;
    }

    /// <summary>Reads weights (trained ones) and the optimiser's state back, bit for bit.</summary>
    internal static TrainerState Read(string path, DecoderWeights weights, bool withState)
    {
        TrainerState state = TrainerState.Read(Path.Combine(path, StateName));
        if (File.Exists(Path.Combine(path, AdapterFiles.WeightsName))) AdapterFiles.Read(path, weights);
        else ReadParameters(Path.Combine(path, "model.safetensors"), weights);
        weights.ParametersChanged();
        if (!withState) return state;
        using TensorFiles files = TensorFiles.Open(Path.Combine(path, OptimizerName));
        foreach (Parameter p in weights.Parameters.Parameters)
        {
            foreach ((string part, Tensor tensor, long[] shape) in weights.Parameters.StateOf(p))
            {
                string name = $"{p.Name}.{part}";
                if (files.Require(name, shape).Type != TypeOf(tensor))
                    throw FineTuneException.Failed($"{files.FileOf(name)}: tensor '{name}' is {files.Require(name).Type}, expected {TypeOf(tensor)}: it is the state of another optimiser.");
                weights.Backend.Upload(tensor, files.Bytes(name));
            }
        }

        return state;
    }

    /// <summary>The newest checkpoint whose checksums hold, or null; damaged ones are reported.</summary>
    internal static string? FindNewest(string runDirectory, Action<string> report)
    {
        foreach (int step in Steps(runDirectory).OrderDescending())
        {
            string path = PathOf(runDirectory, step);
            if (Verify(path) is not { } problem) return path;
            report($"{path} is damaged ({problem}) and is passed over");
        }

        return null;
    }

    /// <summary>Steps that have a checkpoint.</summary>
    internal static IEnumerable<int> Steps(string runDirectory) =>
        !Directory.Exists(runDirectory) ? [] : Directory.EnumerateDirectories(runDirectory, "checkpoint-*")
            .Select(d => int.TryParse(Path.GetFileName(d)["checkpoint-".Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : -1)
            .Where(n => n >= 0);

    /// <summary>Deletes all but the newest <paramref name="keep"/> and the best; also what a killed writer left.</summary>
    internal static void Prune(string runDirectory, int keep, int bestStep)
    {
        foreach (int step in Steps(runDirectory).OrderDescending().Skip(keep).Where(s => s != bestStep).ToArray())
            Directory.Delete(PathOf(runDirectory, step), recursive: true);
    }

    /// <summary>Removes temporaries of an earlier process that was killed while writing.</summary>
    internal static void RemoveLeftovers(string runDirectory)
    {
        foreach (string leftover in Directory.EnumerateFileSystemEntries(runDirectory, ".*").Where(IsLeftover).ToArray()) Delete(leftover);
        foreach (string leftover in Directory.EnumerateFiles(runDirectory, "*.tmp-*").ToArray()) File.Delete(leftover);
    }

    /// <summary>Whether a killed writer left this behind.</summary>
    internal static bool IsLeftover(string path) => Path.GetFileName(path) is var name
        && (name.Contains(".tmp-", StringComparison.Ordinal) || name.Contains(".old-", StringComparison.Ordinal));

    private static void Delete(string path)
    {
        if (Directory.Exists(path)) Directory.Delete(path, recursive: true);
        else File.Delete(path);
    }

    /// <summary>What is wrong with a checkpoint, or null.</summary>
    internal static string? Verify(string path)
    {
        string checksums = Path.Combine(path, ChecksumName);
        if (!File.Exists(checksums)) return $"{ChecksumName} is missing";
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(checksums));
            foreach (JsonProperty entry in document.RootElement.EnumerateObject())
            {
                string file = Path.Combine(path, entry.Name);
                if (!File.Exists(file)) return $"{entry.Name} is missing";
                if (Hash(file) != entry.Value.GetString()) return $"the checksum of {entry.Name} does not hold";
            }

            return null;
        }
        catch (Exception e) when (e is JsonException or IOException or InvalidOperationException)
        {
            return $"{ChecksumName} cannot be read: {e.Message}";
        }
    }

    private static byte[] Checksums(string directory)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            foreach (string file in Directory.EnumerateFiles(directory).Order(StringComparer.Ordinal))
                json.WriteString(Path.GetFileName(file), Hash(file));
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    internal static string Hash(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private static IEnumerable<TensorToWrite> State(DecoderWeights weights) =>
        from p in weights.Parameters.Parameters
        from part in weights.Parameters.StateOf(p)
        select new TensorToWrite($"{p.Name}.{part.Name}", TypeOf(part.Tensor), part.Shape, stream => stream.Write(Bytes(weights, part.Tensor)));

    private static ElementType TypeOf(Tensor state) => state.DType == DType.U8 ? ElementType.U8 : ElementType.F32;

    private static byte[] Bytes(DecoderWeights weights, Tensor tensor)
    {
        var bytes = new byte[tensor.Columns * tensor.DType.Size()];
        weights.Backend.Download<byte>(bytes, tensor);
        return bytes;
    }

    private static void ReadParameters(string path, DecoderWeights weights)
    {
        using TensorFiles files = TensorFiles.Open(path);
        foreach (Parameter p in weights.Parameters.Parameters)
        {
            files.Require(p.Name, AdapterFiles.ShapeOf(p));
            weights.Backend.Upload(weights.Parameters.Value(p), files.Bytes(p.Name));
        }
    }
}
