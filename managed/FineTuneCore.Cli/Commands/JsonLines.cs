using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace FineTuneCore.Cli.Commands;

/// <summary>Answers each line of a file with one JSON object on standard output; what goes wrong with a line is its answer.</summary>
internal static class JsonLines
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <param name="file">The requests; empty lines are skipped.</param>
    /// <param name="output">Where the answers go.</param>
    /// <param name="answer">Writes the members of the answer to one request; the braces are there already.</param>
    /// <returns>The exit code: 0, or 2 where the file cannot be read.</returns>
    public static int Answer(FileInfo file, Stream output, Action<JsonElement, Utf8JsonWriter> answer)
    {
        if (!file.Exists)
        {
            Console.Error.WriteLine($"{file}: no such file, expected one JSON object a line; check --jsonl");
            return 2;
        }
        foreach (string line in File.ReadLines(file.FullName, Encoding.UTF8))
        {
            if (string.IsNullOrWhiteSpace(line))
                continue;
            output.Write(Answer(line, answer));
            output.Write("\n"u8);
        }
        output.Flush();
        return 0;
    }

    private static ReadOnlySpan<byte> Answer(string line, Action<JsonElement, Utf8JsonWriter> answer)
    {
        try
        {
            using JsonDocument request = JsonDocument.Parse(line);
            if (request.RootElement.ValueKind != JsonValueKind.Object)
                throw new FormatException($"the request is {request.RootElement.ValueKind}, expected a JSON object");
            return Write(writer => answer(request.RootElement, writer));
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return Write(writer => writer.WriteString("error", e.Message));
        }
    }

    private static ReadOnlySpan<byte> Write(Action<Utf8JsonWriter> members)
    {
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, s_options))
        {
            writer.WriteStartObject();
            members(writer);
            writer.WriteEndObject();
        }
        return buffer.WrittenSpan;
    }
}
