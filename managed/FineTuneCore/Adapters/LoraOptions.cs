using System.Text.RegularExpressions;
using FineTuneCore.Models;

namespace FineTuneCore.Adapters;

/// <summary>What a LoRA adapter is made of; keys of PEFT's adapter_config.json. Hu et al. 2021, arXiv:2106.09685.</summary>
internal sealed record LoraOptions
{
    /// <summary>Rank r, from 1.</summary>
    internal int Rank { get; init; } = 16;

    internal double Alpha { get; init; } = 32;

    /// <summary>Scaling alpha / sqrt(r) instead of alpha / r. Kalajdzievski 2023, arXiv:2312.03732.</summary>
    internal bool UseRsLora { get; init; }

    /// <summary>Chance of dropping a feature on the adapter's path, [0, 1).</summary>
    internal double Dropout { get; init; }

    /// <summary>Module names or suffixes; a single "all-linear" is every linear layer but the head; a single other entry may be a regex.</summary>
    internal IReadOnlyList<string> TargetModules { get; init; } = ["all-linear"];

    /// <summary>TargetModules is one regular expression over the whole module path.</summary>
    internal bool TargetIsRegex { get; init; }

    internal IReadOnlyList<string> ExcludeModules { get; init; } = [];

    /// <summary>Only these layers, or all when empty.</summary>
    internal IReadOnlyList<int> LayersToTransform { get; init; } = [];

    /// <summary>Rank per module suffix or regex, over <see cref="Rank"/>.</summary>
    internal IReadOnlyDictionary<string, int> RankPattern { get; init; } = new Dictionary<string, int>();

    internal IReadOnlyDictionary<string, double> AlphaPattern { get; init; } = new Dictionary<string, double>();

    /// <summary>Modules trained and saved in full beside the adapter.</summary>
    internal IReadOnlyList<string> ModulesToSave { get; init; } = [];

    internal int RankOf(string module) => Pattern(RankPattern, module, Rank);

    internal double AlphaOf(string module) => Pattern(AlphaPattern, module, Alpha);

    internal float ScalingOf(string module)
    {
        int rank = RankOf(module);
        return (float)(AlphaOf(module) / (UseRsLora ? Math.Sqrt(rank) : rank));
    }

    /// <summary>Whether the adapter sits on this module, by PEFT's rules.</summary>
    internal bool Targets(ModuleSpec module)
    {
        if (module.Kind != WeightKind.Linear) return false;
        if (ExcludeModules.Any(name => Matches(module.Name, name))) return false;
        if (LayersToTransform.Count > 0 && !LayersToTransform.Contains(LayerOf(module.Name))) return false;
        if (TargetIsRegex) return IsMatch(module.Name, $"^(?:{TargetModules[0]})$");
        return TargetModules is ["all-linear"] || TargetModules.Any(name => Matches(module.Name, name));
    }

    /// <summary>Whether the module is trained in full beside the adapter.</summary>
    internal bool Saves(ModuleSpec module) => ModulesToSave.Any(name => Matches(module.Name, name));

    internal static bool Matches(string module, string name) => module == name || module.EndsWith($".{name}", StringComparison.Ordinal);

    private static int LayerOf(string module) =>
        Regex.Match(module, @"\.layers\.(\d+)\.") is { Success: true } match ? int.Parse(match.Groups[1].Value) : -1;

    /// <summary>Patterns come from files of others: one that backtracks without end is an error, not a hang.</summary>
    private static bool IsMatch(string module, string pattern)
    {
        try
        {
            return Regex.IsMatch(module, pattern, RegexOptions.None, TimeSpan.FromSeconds(1));
        }
        catch (RegexMatchTimeoutException e)
        {
            throw FineTuneException.Failed($"the adapter's pattern '{pattern}' takes too long on {module}; list the modules by name.", e);
        }
    }

    private static T Pattern<T>(IReadOnlyDictionary<string, T> patterns, string module, T otherwise)
    {
        foreach ((string pattern, T value) in patterns)
            if (IsMatch(module, $@"(^|\.){pattern}$")) return value;
        return otherwise;
    }
}
