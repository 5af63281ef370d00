using System.Text.Json;
using FineTuneCore.Files;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>Opens JSON files with errors that name file, line and column.</summary>
internal static class JsonFiles
{
    public static JsonDocument Open(string file)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenizationException($"{file}: cannot be read ({e.Message}); check the path and the permissions", e);
        }
        ReadOnlyMemory<byte> content = bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes.AsMemory(3) : bytes;
        try
        {
            return StrictJson.Parse(content);
        }
        catch (JsonException e)
        {
            throw new TokenizationException(
                $"{file}: line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1} is not valid JSON ({Reason(e)}); the file is damaged or cut short, fetch it again", e);
        }
    }

    /// <summary>The parser's complaint without the position it repeats.</summary>
    public static string Reason(JsonException e)
    {
        int cut = e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        return (cut < 0 ? e.Message : e.Message[..cut]).TrimEnd('.', ' ');
    }
}
