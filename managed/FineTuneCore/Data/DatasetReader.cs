using System.Text;
using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>
/// Reads datasets row by row: .jsonl, .json (an array of rows) and .txt. The format of each row is detected by its keys.
/// </summary>
public static class DatasetReader
{
    private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);

    /// <summary>The rows of a file, read as they are asked for.</summary>
    /// <exception cref="DataException">Rows are broken: all are read first, and the message lists the first of them.</exception>
    public static IEnumerable<Example> Read(string file)
    {
        var errors = new DataErrors();
        foreach (Example example in Read(file, errors))
            yield return example;
        errors.ThrowIfAny();
    }

    internal static IEnumerable<Example> Read(string file, DataErrors errors)
    {
        if (Directory.Exists(file))
            throw new DataException($"{file}: this is a directory; expected a dataset in .jsonl, .json or .txt");
        if (!File.Exists(file))
            throw new DataException($"{file}: no such file; expected a dataset in .jsonl, .json or .txt");
        return Path.GetExtension(file).ToLowerInvariant() switch
        {
            ".jsonl" or ".ndjson" => ReadLines(file, errors),
            ".json" => ReadArray(file, errors),
            ".txt" or ".md" => [ReadText(file)],
            var other => throw new DataException($"{file}: files of type {(other.Length == 0 ? "unknown" : other)} are not read; convert it to .jsonl, .json or .txt"),
        };
    }

    private static IEnumerable<Example> ReadLines(string file, DataErrors errors)
    {
        int number = 0;
        int rows = 0;
        foreach (ReadOnlyMemory<byte> line in ByteLines(file))
        {
            number++;
            if (line.Span.IndexOfAnyExcept(" \t\r"u8) < 0)
                continue;
            rows++;
            Example? example = null;
            try
            {
                example = ReadLine(line, new SourceLocation(file, number));
            }
            catch (DataException e)
            {
                errors.Add(e);
            }
            if (example is not null)
                yield return example;
        }
        if (rows == 0)
            throw new DataException($"{file}: the file has no rows; expected one JSON object a line");
    }

    private static Example ReadLine(ReadOnlyMemory<byte> line, SourceLocation source)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(line);
        }
        catch (JsonException e)
        {
            throw NotJson(e, source, line.Span);
        }
        using (document)
        {
            CheckUtf8(line.Span, source);
            return RowReader.Read(document.RootElement, source);
        }
    }

    private static IEnumerable<Example> ReadArray(string file, DataErrors errors)
    {
        byte[] bytes = File.ReadAllBytes(file);
        ReadOnlyMemory<byte> content = WithoutBom(bytes);
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(content);
        }
        catch (JsonException e)
        {
            int line = (int)(e.LineNumber ?? 0) + 1;
            throw new DataException(
                $"{file}:{line}, byte {e.BytePositionInLine + 1}: not valid JSON ({Tokenization.Loading.JsonFiles.Reason(e)}); "
                + "a .json dataset is one array of rows, and one row a line belongs in a .jsonl file", e);
        }
        using (document)
        {
            CheckUtf8(content.Span, new SourceLocation(file, 1));
            if (document.RootElement.ValueKind != JsonValueKind.Array)
                throw new DataException($"{file}: the file is {RowReader.Kind(document.RootElement)}, expected an array of rows");
            int number = 0;
            foreach (JsonElement row in document.RootElement.EnumerateArray())
            {
                Example? example = null;
                try
                {
                    example = RowReader.Read(row, new SourceLocation(file, ++number));
                }
                catch (DataException e)
                {
                    errors.Add(e);
                }
                if (example is not null)
                    yield return example;
            }
            if (number == 0)
                throw new DataException($"{file}: the array is empty; expected rows");
        }
    }

    private static TextExample ReadText(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        ReadOnlySpan<byte> content = WithoutBom(bytes).Span;
        CheckUtf8(content, new SourceLocation(file, 1));
        string text = s_strict.GetString(content);
        if (string.IsNullOrWhiteSpace(text))
            throw new DataException($"{file}: the file is empty; expected text");
        int nul = text.IndexOf('\0');
        return nul < 0
            ? new TextExample(ExampleFormat.PlainText, new SourceLocation(file, 1), text)
            : throw new DataException($"{file}:{text.AsSpan(0, nul).Count('\n') + 1}: a NUL character, which is no text; is this a binary file?");
    }

    private static DataException NotJson(JsonException error, SourceLocation source, ReadOnlySpan<byte> line)
    {
        long column = (error.BytePositionInLine ?? 0) + 1;
        string remedy = line.IndexOf((byte)0) >= 0
            ? "the line has NUL bytes, so the file may have been cut off while it was written"
            : line.TrimEnd((byte)'\r').EndsWith("}"u8)
                ? "check quotes and commas there"
                : "the line may be cut short; each row must be one whole JSON object on one line";
        return new DataException($"{source}, byte {column}: not valid JSON ({Tokenization.Loading.JsonFiles.Reason(error)}); {remedy}", error);
    }

    private static void CheckUtf8(ReadOnlySpan<byte> bytes, SourceLocation source)
    {
        try
        {
            s_strict.GetCharCount(bytes);
        }
        catch (DecoderFallbackException e)
        {
            int line = source.Line + bytes[..Math.Clamp(e.Index, 0, bytes.Length)].Count((byte)'\n');
            throw new DataException($"{source.File}:{line}: bytes that are not UTF-8 ({Convert.ToHexString(e.BytesUnknown ?? [])}); save the file as UTF-8", e);
        }
    }

    private static ReadOnlyMemory<byte> WithoutBom(byte[] bytes) => bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes.AsMemory(3) : bytes;

    // Lines as bytes, so that bytes that are not UTF-8 are seen rather than replaced.
    private static IEnumerable<ReadOnlyMemory<byte>> ByteLines(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);
        byte[] buffer = new byte[1 << 16];
        int start = 0;
        int filled = 0;
        bool first = true;
        while (true)
        {
            int newline = buffer.AsSpan(start, filled - start).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                yield return Line(start, newline);
                start += newline + 1;
                continue;
            }
            if (start > 0)
            {
                buffer.AsSpan(start, filled - start).CopyTo(buffer);
                (start, filled) = (0, filled - start);
            }
            if (filled == buffer.Length)
                Array.Resize(ref buffer, checked(buffer.Length * 2));
            int read = stream.Read(buffer, filled, buffer.Length - filled);
            if (read == 0)
                break;
            filled += read;
        }
        if (filled > 0)
            yield return Line(0, filled);

        ReadOnlyMemory<byte> Line(int from, int length)
        {
            ReadOnlyMemory<byte> line = buffer.AsMemory(from, length);
            if (first && line.Span.StartsWith("\uFEFF"u8))
                line = line[3..];
            first = false;
            return line;
        }
    }
}
