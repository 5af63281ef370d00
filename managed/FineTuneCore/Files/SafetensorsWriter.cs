using System.Text.Json;

namespace FineTuneCore.Files;

/// <summary>One tensor to write; <paramref name="Write"/> puts exactly its bytes on the stream when its turn comes.</summary>
internal sealed record TensorToWrite(string Name, ElementType Type, long[] Shape, Action<Stream> Write)
{
    internal long ByteCount => Shape.Aggregate(1L, (product, n) => checked(product * n)) * Type.Size();
}

/// <summary>Writes safetensors as Hugging Face's writer lays them out: wide types first, then by name, header padded to 8 bytes.</summary>
internal static class SafetensorsWriter
{
    /// <summary>Writes all tensors to a stream that is at its start.</summary>
    internal static void Write(Stream stream, IEnumerable<TensorToWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        TensorToWrite[] ordered = [.. tensors.OrderByDescending(t => t.Type.Size()).ThenBy(t => t.Name, StringComparer.Ordinal)];
        byte[] header = Header(ordered, metadata);
        stream.Write(BitConverter.GetBytes((ulong)header.Length));
        stream.Write(header);
        foreach (TensorToWrite tensor in ordered)
        {
            long before = stream.Position;
            tensor.Write(stream);
            long written = stream.Position - before;
            if (written != tensor.ByteCount)
                throw new InvalidOperationException($"tensor {tensor.Name} wrote {written} bytes, its shape needs {tensor.ByteCount}");
        }
    }

    private static byte[] Header(TensorToWrite[] tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            json.WriteString("format", "pt"); // transformers and PEFT refuse files without it
            foreach ((string key, string value) in metadata ?? new Dictionary<string, string>())
                if (key != "format") json.WriteString(key, value);
            json.WriteEndObject();
            long at = 0;
            foreach (TensorToWrite tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.Type.ToString());
                json.WriteStartArray("shape");
                foreach (long n in tensor.Shape) json.WriteNumberValue(n);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(at);
                json.WriteNumberValue(at += tensor.ByteCount);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        while (buffer.Length % 8 != 0) buffer.WriteByte((byte)' ');
        return buffer.ToArray();
    }
}
