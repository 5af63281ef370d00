using System.Text.Json;
using System.Text.Json.Nodes;
using FineTuneCore.Files;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>One table of the comparison: rows that are results, rows that wait for another CPU or library, rows that came to no result.</summary>
internal sealed class Table(string name)
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    internal string Name { get; } = name;

    internal JsonArray Rows { get; } = [];

    internal JsonArray Waiting { get; } = [];

    internal JsonArray NoResult { get; } = [];

    /// <summary>Versions of both sides, as they named themselves.</summary>
    internal Dictionary<string, string> Versions { get; } = [];

    /// <summary>Measures one row; what cannot be measured here is noted instead.</summary>
    internal void Add(Session session, string row, Func<JsonObject> measure)
    {
        try
        {
            Rows.Add(measure());
        }
        catch (RefusedException e)
        {
            Waiting.Add(new JsonObject { ["row"] = row, ["reason"] = e.Message });
            session.Report($"{row}: waiting, {e.Message}");
        }
        catch (NoResultException e)
        {
            NoResult.Add(e.Message);
            session.Report(e.Message);
        }
    }

    internal void Note(Pairs pairs)
    {
        foreach (Measurement m in pairs.Quiet[0]) Versions[(string)m.Start["side"]!] = (string)m.Start["version"]!;
    }

    /// <summary>Writes the table among the results of this machine; an older one is replaced even where this one has no result.</summary>
    internal void Save(Session session)
    {
        var table = new JsonObject
        {
            ["command"] = session.Command, ["commit"] = session.Commit, ["date"] = session.Date, ["cpu"] = session.Cpu,
            ["instruction_sets"] = Machine.InstructionSets, ["ours"] = Versions.GetValueOrDefault("ours"), ["peer"] = Versions.GetValueOrDefault("peer"),
            ["pairs"] = session.PairCount, ["rows"] = Rows.DeepClone(), ["waiting"] = Waiting.DeepClone(), ["no_result"] = NoResult.DeepClone(),
        };
        Save(session, $"{Name}.json", table);
    }

    internal static void Save(Session session, string file, JsonNode content)
    {
        Directory.CreateDirectory(session.Results);
        AtomicFile.WriteText(Path.Combine(session.Results, file), content.ToJsonString(Indented) + "\n");
    }
}
