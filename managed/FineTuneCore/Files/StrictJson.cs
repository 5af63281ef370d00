using System.Text.Json;
using System.Text.Unicode;

namespace FineTuneCore.Files;

/// <summary>
/// JSON whose strings are all readable. The parser of .NET leaves bytes that are not UTF-8 and halves of surrogate pairs to whoever asks
/// for the string, with an exception of another kind; here they are a <see cref="JsonException"/> with a position, as any other damage.
/// </summary>
internal static class StrictJson
{
    /// <exception cref="JsonException">Not JSON, not UTF-8, or an escape that is half a character.</exception>
    internal static JsonDocument Parse(ReadOnlyMemory<byte> content)
    {
        JsonDocument document = JsonDocument.Parse(content);
        try
        {
            CheckStrings(content.Span);
            return document;
        }
        catch
        {
            document.Dispose();
            throw;
        }
    }

    private static void CheckStrings(ReadOnlySpan<byte> content)
    {
        bool isUtf8 = Utf8.IsValid(content);
        if (isUtf8 && content.IndexOf("\\u"u8) < 0) return;
        var reader = new Utf8JsonReader(content);
        while (reader.Read())
        {
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName) || (isUtf8 && !reader.ValueIsEscaped)) continue;
            try
            {
                _ = reader.GetString();
            }
            catch (InvalidOperationException e)
            {
                ReadOnlySpan<byte> before = content[..(int)reader.TokenStartIndex];
                throw new JsonException(
                    "a string is not valid UTF-8 or has half of a surrogate pair", null, before.Count((byte)'\n'), before.Length - 1 - before.LastIndexOf((byte)'\n'), e);
            }
        }
    }
}
