using System.Text.Json;
using System.Text.Json.Nodes;
using FineTuneCore.Files;

namespace FineTuneCore.Backends;

/// <summary>
/// What was measured on a device, kept for the next process: up to how many rows NF4 weights are multiplied packed. A file of the user's
/// cache; where it cannot be read or written the measurement is made again.
/// </summary>
internal static class TuneCache
{
    /// <summary>tune.json in the cache directory (XDG_CACHE_HOME, ~/.cache; on Windows the local application data).</summary>
    internal static string File { get; } = Path.Combine(CacheRoot(), "finetunecore", "tune.json");

    /// <summary>The value of an earlier measurement on such a device with this library; null where there is none.</summary>
    internal static long? Read(string device) => All()[device]?.AsValue() is { } value && value.TryGetValue(out long rows) && rows >= 0 ? rows : null;

    /// <summary>Keeps a measurement.</summary>
    internal static void Write(string device, long packedRows)
    {
        try
        {
            JsonObject all = All();
            all[device] = packedRows;
            Directory.CreateDirectory(Path.GetDirectoryName(File)!);
            AtomicFile.Write(File, stream =>
            {
                using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
                all.WriteTo(json);
            });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Measured again next time: a second at most.
        }
    }

    private static JsonObject All()
    {
        try
        {
            return System.IO.File.Exists(File) ? JsonNode.Parse(System.IO.File.ReadAllText(File)) as JsonObject ?? [] : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or ArgumentException)
        {
            return [];
        }
    }

    private static string CacheRoot()
    {
        if (Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } set) return set;
        return OperatingSystem.IsWindows()
            ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
    }
}
