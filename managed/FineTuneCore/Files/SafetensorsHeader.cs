using System.Text.Json;

namespace FineTuneCore.Files;

/// <summary>
/// The header of a safetensors file: 8 bytes little-endian length, then JSON. Everything a hostile file could lie about is
/// checked here, once, so that readers may trust offsets.
/// </summary>
internal sealed class SafetensorsHeader
{
    private const long MaxHeaderBytes = 100_000_000; // the format's own limit

    private static readonly Dictionary<string, ElementType> Types = Enum.GetValues<ElementType>().ToDictionary(t => t.ToString());

    private SafetensorsHeader(long dataOffset, Dictionary<string, TensorEntry> tensors, Dictionary<string, string> metadata)
    {
        DataOffset = dataOffset;
        Tensors = tensors;
        Metadata = metadata;
    }

    /// <summary>Where the data section starts in the file.</summary>
    internal long DataOffset { get; }

    internal IReadOnlyDictionary<string, TensorEntry> Tensors { get; }

    internal IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Reads and checks the header of an open file.</summary>
    /// <exception cref="FineTuneException">The file is truncated or its header contradicts itself; the message names the file.</exception>
    internal static SafetensorsHeader Read(Stream stream, string path)
    {
        long fileLength = stream.Length;
        if (fileLength < 8) throw Bad(path, $"is {fileLength} bytes long, expected at least the 8 bytes of a header length");
        Span<byte> lengthBytes = stackalloc byte[8];
        stream.Position = 0;
        stream.ReadExactly(lengthBytes);
        ulong headerLength = BitConverter.ToUInt64(lengthBytes);
        if (headerLength > MaxHeaderBytes) throw Bad(path, $"claims a header of {headerLength} bytes, expected at most {MaxHeaderBytes}");
        if ((long)headerLength > fileLength - 8)
            throw Bad(path, $"claims a header of {headerLength} bytes but only {fileLength - 8} bytes follow; the file is truncated");

        byte[] json = new byte[(int)headerLength];
        stream.ReadExactly(json);
        return Parse(json, path, fileLength - 8 - (long)headerLength);
    }

    private static SafetensorsHeader Parse(byte[] json, string path, long dataBytes)
    {
        try
        {
            using JsonDocument document = StrictJson.Parse(json);
            return ParseRoot(document.RootElement, path, 8 + json.Length, dataBytes);
        }
        catch (JsonException e)
        {
            throw Bad(path, $"has a header that is not JSON ({e.Message})");
        }
    }

    private static SafetensorsHeader ParseRoot(JsonElement root, string path, long dataOffset, long dataBytes)
    {
        if (root.ValueKind != JsonValueKind.Object) throw Bad(path, "has a header that is not a JSON object");
        var tensors = new Dictionary<string, TensorEntry>();
        var metadata = new Dictionary<string, string>();
        foreach (JsonProperty property in root.EnumerateObject())
        {
            if (property.Name == "__metadata__")
            {
                if (property.Value.ValueKind != JsonValueKind.Object) throw Bad(path, "has a __metadata__ that is not an object");
                foreach (JsonProperty entry in property.Value.EnumerateObject())
                    metadata[entry.Name] = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString()! : entry.Value.GetRawText();
            }
            else if (!tensors.TryAdd(property.Name, ParseEntry(property.Name, property.Value, path)))
            {
                throw Bad(path, $"names tensor '{property.Name}' twice");
            }
        }

        CheckCoverage(tensors.Values, path, dataBytes);
        return new SafetensorsHeader(dataOffset, tensors, metadata);
    }

    private static TensorEntry ParseEntry(string name, JsonElement value, string path)
    {
        if (value.ValueKind != JsonValueKind.Object
            || !value.TryGetProperty("dtype", out JsonElement dtype) || dtype.ValueKind != JsonValueKind.String
            || !value.TryGetProperty("shape", out JsonElement shape) || shape.ValueKind != JsonValueKind.Array
            || !value.TryGetProperty("data_offsets", out JsonElement offsets) || offsets.ValueKind != JsonValueKind.Array
            || offsets.GetArrayLength() != 2)
        {
            throw Bad(path, $"describes tensor '{name}' without dtype, shape and two data_offsets");
        }

        if (!Types.TryGetValue(dtype.GetString()!, out ElementType type))
            throw Bad(path, $"gives tensor '{name}' the unknown dtype '{dtype.GetString()}'");

        var dimensions = new long[shape.GetArrayLength()];
        long count = 1;
        try
        {
            for (int i = 0; i < dimensions.Length; i++)
            {
                if (!TryWhole(shape[i], out dimensions[i]))
                    throw Bad(path, $"gives tensor '{name}' the dimension {shape[i].GetRawText()}, expected a whole number from 0");
                count = checked(count * dimensions[i]);
            }

            count = checked(count * type.Size());
        }
        catch (OverflowException)
        {
            throw Bad(path, $"gives tensor '{name}' a shape whose size overflows 64 bits");
        }

        if (!TryWhole(offsets[0], out long begin) || !TryWhole(offsets[1], out long end) || end < begin)
            throw Bad(path, $"gives tensor '{name}' the data_offsets {offsets.GetRawText()}, expected 0 <= begin <= end");
        if (end - begin != count)
            throw Bad(path, $"gives tensor '{name}' {end - begin} bytes, but its shape {shape.GetRawText()} of {type} needs {count}");
        return new TensorEntry(name, type, dimensions, begin, end);
    }

    private static bool TryWhole(JsonElement value, out long number)
    {
        number = -1;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out number) && number >= 0;
    }

    /// <summary>Tensors lie end to end and fill the data section exactly: no overlap, no hole, nothing behind.</summary>
    private static void CheckCoverage(IEnumerable<TensorEntry> tensors, string path, long dataBytes)
    {
        long at = 0;
        foreach (TensorEntry tensor in tensors.OrderBy(t => t.Begin).ThenBy(t => t.End))
        {
            if (tensor.Begin != at)
                throw Bad(path, $"starts tensor '{tensor.Name}' at byte {tensor.Begin}, expected {at}: tensors overlap or leave a hole");
            at = tensor.End;
        }

        if (at > dataBytes)
            throw Bad(path, $"needs {at} bytes of tensor data but holds {dataBytes}; the file is truncated, copy or download it again");
        if (at < dataBytes) throw Bad(path, $"holds {dataBytes} bytes of tensor data but its header accounts for {at}");
    }

    private static FineTuneException Bad(string path, string what) => FineTuneException.Failed($"{path} {what}.");
}
