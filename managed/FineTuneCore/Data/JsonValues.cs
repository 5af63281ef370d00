using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>Makes JSON values.</summary>
internal static class JsonValues
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static JsonElement Null { get; } = Build(writer => writer.WriteNullValue());

    public static JsonElement Build(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, s_options))
            write(writer);
        using JsonDocument document = JsonDocument.Parse(buffer.WrittenMemory);
        return document.RootElement.Clone();
    }

    public static JsonElement Array(IEnumerable<JsonElement> items) => Build(writer =>
    {
        writer.WriteStartArray();
        foreach (JsonElement item in items)
            item.WriteTo(writer);
        writer.WriteEndArray();
    });
}
