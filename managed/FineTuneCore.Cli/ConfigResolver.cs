using FineTuneCore.Training;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace FineTuneCore.Cli;

/// <summary>The options of a run and where each value came from.</summary>
internal sealed class ResolvedConfig(FineTuneOptions options, IReadOnlyDictionary<string, string> origins)
{
    internal FineTuneOptions Options { get; } = options;

    internal void Print(TextWriter output)
    {
        foreach (Setting setting in Settings.All)
        {
            string value = setting.Get(Options) is { Length: > 0 } text ? text : "null";
            output.WriteLine($"{$"{setting.Key}: {value}",-48} # {origins.GetValueOrDefault(setting.Key, "default")}");
        }
    }
}

/// <summary>Puts defaults, a run to resume, a YAML file and flags together, later ones over earlier ones.</summary>
internal static class ConfigResolver
{
    internal static ResolvedConfig Resolve(string? file, IEnumerable<(Setting Setting, string Text)> flags)
    {
        (Setting Setting, string Text)[] given = [.. flags];
        var options = new FineTuneOptions();
        var origins = new Dictionary<string, string>();
        if (given.FirstOrDefault(f => f.Setting.Key == "resume") is { Setting: not null, Text: not "false" }
            && given.FirstOrDefault(f => f.Setting.Key == "output") is { Setting: not null } output)
        {
            options = RunDirectory.ReadConfig(output.Text);
            foreach (Setting setting in Settings.All.Where(s => s.Get(options) is { Length: > 0 })) origins[setting.Key] = $"the run in {output.Text}";
        }

        if (file is not null) ReadFile(file, options, origins);
        foreach ((Setting setting, string text) in given)
        {
            setting.Set(options, text, setting.Flag);
            origins[setting.Key] = setting.Flag;
        }

        return new ResolvedConfig(options, origins);
    }

    private static void ReadFile(string file, FineTuneOptions options, Dictionary<string, string> origins)
    {
        foreach ((YamlNode keyNode, YamlNode value) in Mapping(file))
        {
            string where = $"{file}:{keyNode.Start.Line}";
            string key = (keyNode as YamlScalarNode)?.Value ?? throw FineTuneException.Usage($"{where}: a key is not a word, expected an option such as learning_rate.");
            Setting setting = Settings.Find(key) ?? throw Unknown(where, key);
            if (Text(value, where, key) is not { } text) continue;
            setting.Set(options, text, where);
            origins[setting.Key] = where;
        }
    }

    private static YamlMappingNode Mapping(string file)
    {
        if (!File.Exists(file)) throw FineTuneException.Usage($"{file} does not exist; expected a YAML file with options of ftc train.");
        var stream = new YamlStream();
        try
        {
            using StreamReader reader = File.OpenText(file);
            stream.Load(reader);
        }
        catch (YamlException e)
        {
            throw FineTuneException.Usage($"{file}:{e.Start.Line}:{e.Start.Column}: not valid YAML ({e.Message}).");
        }

        if (stream.Documents.Count == 0) return [];
        return stream.Documents[0].RootNode as YamlMappingNode
            ?? throw FineTuneException.Usage($"{file}:1: expected one option a line, such as 'learning_rate: 2e-4'.");
    }

    /// <summary>A scalar as it stands, a list as words with commas, null as nothing.</summary>
    private static string? Text(YamlNode value, string where, string key) => value switch
    {
        YamlScalarNode { Style: ScalarStyle.Plain, Value: null or "" or "null" or "~" } => null,
        YamlScalarNode scalar => scalar.Value,
        YamlSequenceNode list when list.Children.All(c => c is YamlScalarNode) => string.Join(',', list.Children.Select(c => ((YamlScalarNode)c).Value)),
        _ => throw FineTuneException.Usage($"{where}: {key} holds options of its own, expected one value or a list of words."),
    };

    private static FineTuneException Unknown(string where, string key)
    {
        string hint = Settings.Suggest(key) is { } near ? $" Did you mean {near}?" : " ftc train --help lists all options.";
        return FineTuneException.Usage($"{where}: {key} is not an option.{hint}");
    }
}
