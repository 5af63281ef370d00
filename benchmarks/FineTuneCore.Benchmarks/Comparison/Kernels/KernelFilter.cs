using System.Text.RegularExpressions;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>Patterns with * and ? over the name of an op, LoraLinear, or of its method, LoraLinear.Forward; upper and lower case are the same. None takes all.</summary>
internal sealed class KernelFilter(IReadOnlyList<string> patterns)
{
    private readonly Regex[] _patterns =
        [.. patterns.Select(p => new Regex($"^{Regex.Escape(p).Replace("\\*", ".*").Replace("\\?", ".")}$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant))];

    internal bool Takes(string op, string method) => _patterns.Length == 0 || _patterns.Any(p => p.IsMatch(op) || p.IsMatch($"{op}.{method}"));
}
