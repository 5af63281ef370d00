using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks;

/// <summary>The output of a measuring process: one JSON object a line, each with its kind under "event".</summary>
internal static class JsonLines
{
    internal static void Write(string kind, params ReadOnlySpan<(string Key, JsonNode? Value)> values)
    {
        var line = new JsonObject { ["event"] = kind };
        foreach ((string key, JsonNode? value) in values) line[key] = value;
        Console.WriteLine(line.ToJsonString());
    }
}
