using System.Text.Json;
using Xunit;

namespace FineTuneCore.Tests;

/// <summary>The reference data: FTC_TEST_DATA, or shared/data beside the repository. Tests without it are skipped, never passed.</summary>
internal static class TestData
{
    internal static string? Root { get; } = Find();

    /// <summary>A path in the reference data; skips the test where it is not at hand.</summary>
    internal static string Path(params string[] parts)
    {
        Assert.SkipUnless(Root is not null, "the reference data is not at hand (set FTC_TEST_DATA to its directory)");
        string path = System.IO.Path.Combine([Root!, .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"the reference data has no {string.Join('/', parts)}");
        return path;
    }

    internal static JsonElement Json(params string[] parts)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path(parts)));
        return document.RootElement.Clone();
    }

    internal static int[] Ints(this JsonElement element) => [.. element.EnumerateArray().Select(e => e.GetInt32())];

    internal static double[] Doubles(this JsonElement element) => [.. element.EnumerateArray().Select(e => e.GetDouble())];

    private static string? Find()
    {
        if (Environment.GetEnvironmentVariable("FTC_TEST_DATA") is { Length: > 0 } set) return Directory.Exists(set) ? set : null;
        for (string? at = AppContext.BaseDirectory; at is not null; at = System.IO.Path.GetDirectoryName(at))
        {
            if (!File.Exists(System.IO.Path.Combine(at, "FineTuneCore.sln"))) continue;
            string beside = System.IO.Path.GetFullPath(System.IO.Path.Combine(at, "..", "shared", "data"));
            return Directory.Exists(beside) ? beside : null;
        }

        return null;
    }
}
