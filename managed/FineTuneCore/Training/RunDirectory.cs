using System.Security.Cryptography;
using System.Text;
using FineTuneCore.Files;

namespace FineTuneCore.Training;

/// <summary>The files of a run directory beside its checkpoints.</summary>
internal static class RunDirectory
{
    internal const string ConfigName = "config.resolved.yaml";
    internal const string MetricsName = "metrics.jsonl";
    internal const string ReportName = "report.html";
    internal const string ProfileName = "profile.json";

    /// <summary>Options that change where, how fast or how visibly a run goes, but not its numbers.</summary>
    private static readonly string[] WithoutEffect =
        ["output", "resume", "threads", "memory_limit", "keep_checkpoints", "checkpoint_every", "activation_checkpointing", "device", "cuda_graphs", "vram", "resident_layers", "profile"];

    /// <summary>Every option as it was used, in the form the --config file takes.</summary>
    internal static void WriteConfig(string directory, FineTuneOptions options)
    {
        var text = new StringBuilder("# What this run used; repeat it with: ftc train --config this-file --output NEW-DIR\n");
        foreach (Setting setting in Settings.All.Where(s => s.Key != "resume"))
            if (setting.Get(options) is { Length: > 0 } value) text.Append($"{setting.Key}: {Quote(value)}\n");
        AtomicFile.WriteText(Path.Combine(directory, ConfigName), text.ToString());
    }

    /// <summary>The options of an earlier part of the run, as written by <see cref="WriteConfig"/>.</summary>
    /// <exception cref="FineTuneException">There is no run in the directory.</exception>
    internal static FineTuneOptions ReadConfig(string directory)
    {
        string path = Path.Combine(directory, ConfigName);
        if (!File.Exists(path)) throw FineTuneException.Usage($"{directory} holds no run to resume: {ConfigName} is missing.");
        var options = new FineTuneOptions();
        int line = 0;
        foreach (string text in File.ReadLines(path))
        {
            line++;
            int colon = text.IndexOf(": ", StringComparison.Ordinal);
            if (text.StartsWith('#') || colon < 0) continue;
            Setting setting = Settings.Find(text[..colon]) ?? throw FineTuneException.Failed($"{path}:{line}: {text[..colon]} is not an option of this version.");
            setting.Set(options, Unquote(text[(colon + 2)..]), $"{path}:{line}");
        }

        return options;
    }

    /// <summary>Hash of what the numbers of a run depend on: options, data, base model.</summary>
    internal static string Fingerprint(FineTuneOptions options, params string?[] hashes)
    {
        IEnumerable<string> lines = Settings.All.Where(s => !WithoutEffect.Contains(s.Key)).Select(s => $"{s.Key}={s.Get(options)}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', lines.Concat(hashes)))));
    }

    /// <summary>Refuses to continue a run under other options or data; names what differs.</summary>
    internal static void CheckSame(string directory, FineTuneOptions now, string expected, string actual)
    {
        if (expected == actual) return;
        FineTuneOptions before = ReadConfig(directory);
        string[] changed = [.. Settings.All.Where(s => !WithoutEffect.Contains(s.Key) && s.Get(before) != s.Get(now)).Select(s => $"{s.Key} was {s.Get(before) ?? "unset"} and is {s.Get(now) ?? "unset"}")];
        throw FineTuneException.Usage(changed.Length > 0
            ? $"the run in {directory} cannot be resumed under other options: {string.Join("; ", changed)}. Leave them out, or start a new run in another --output."
            : $"the run in {directory} cannot be resumed: its data or its base model have changed since it started. Restore them, or start a new run in another --output.");
    }

    /// <summary>Drops metrics of steps that are done again, and a line that a kill cut short.</summary>
    internal static void CutMetrics(string directory, int step)
    {
        string path = Path.Combine(directory, MetricsName);
        if (!File.Exists(path)) return;
        string[] kept = [.. MetricsReader.Lines(path).Where(line => MetricsReader.StepOf(line) is >= 0 and int s && s <= step)];
        AtomicFile.WriteText(path, string.Concat(kept.Select(line => line + "\n")));
    }

    private static string Quote(string value) =>
        value.Any(c => c is ':' or '#' or '\'' or '"' or '\\' or '{' or '[' or '*' or '&' or '!' or '|' or '>' or '%' or '@' or '`') || value != value.Trim() || value.StartsWith('-')
            ? $"'{value.Replace("'", "''")}'" : value;

    private static string Unquote(string value) =>
        value is ['\'', .., '\''] ? value[1..^1].Replace("''", "'") : value;
}
