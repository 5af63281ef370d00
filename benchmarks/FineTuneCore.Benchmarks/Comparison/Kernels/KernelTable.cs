using System.Text.Json;
using System.Text.Json.Serialization;

namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>One case on one side.</summary>
internal sealed record KernelEntry
{
    /// <summary><c>LoraLinear.Forward 1024x576x1536</c></summary>
    public required string Case { get; init; }

    public required string Family { get; init; }

    public required string Side { get; init; }

    /// <summary>Median of the iterations of BenchmarkDotNet; null with <see cref="Reason"/>.</summary>
    public double? MedianNs { get; init; }

    public double? ErrorNs { get; init; }

    /// <summary>The same call from C++.</summary>
    public double? NativeNs { get; init; }

    /// <summary>GFLOP/s or GB/s.</summary>
    public double? Rate { get; init; }

    /// <summary>Of what multiply-adds, or a copy, reached in the same process; null where the operands fit a cache.</summary>
    public double? Share { get; init; }

    /// <summary>Why there is no number.</summary>
    public string? Reason { get; init; }

    public required string Commit { get; init; }

    public required string Date { get; init; }
}

/// <summary>What a side said about itself when it last ran, and the roofs it measured in its process.</summary>
/// <param name="OnCpu">Whether it runs on the processor.</param>
internal sealed record KernelSideInfo(string Side, string Version, string Device, string Isa, double? PeakGflops, double? PeakBf16Gflops, double CopyGbs, bool OnCpu);

/// <summary>All that is known of the kernels of a machine; runs that measure some of it replace these and leave the rest.</summary>
internal sealed record KernelTable
{
    public required string Cpu { get; init; }

    public string Command { get; init; } = "";

    public IReadOnlyList<KernelSideInfo> Sides { get; init; } = [];

    public IReadOnlyList<KernelEntry> Entries { get; init; } = [];

    /// <summary>New entries and sides in the place of old ones; what is no case any more goes.</summary>
    /// <param name="entries">Measured now.</param>
    /// <param name="sides">That ran now.</param>
    /// <param name="cases">All keys there are, in the order of the page.</param>
    internal KernelTable With(IEnumerable<KernelEntry> entries, IEnumerable<KernelSideInfo> sides, IReadOnlyList<string> cases)
    {
        static (string, string) Key(KernelEntry e) => (e.Case, e.Side);
        var merged = Entries.ToDictionary(Key);
        foreach (KernelEntry entry in entries) merged[Key(entry)] = entry;
        Dictionary<string, KernelSideInfo> infos = Sides.ToDictionary(s => s.Side);
        foreach (KernelSideInfo side in sides) infos[side.Side] = side;
        var order = cases.Select((c, i) => (c, i)).ToDictionary(p => p.c, p => p.i);
        IReadOnlyList<string> names = KernelSide.Names;
        int Place(string side) => Enumerable.Range(0, names.Count).FirstOrDefault(i => names[i] == side, names.Count);
        return this with
        {
            Entries = [.. merged.Values.Where(e => order.ContainsKey(e.Case)).OrderBy(e => order[e.Case]).ThenBy(e => Place(e.Side))],
            Sides = [.. infos.Values.OrderBy(s => Place(s.Side))],
        };
    }

    internal static KernelTable Read(string file, string cpu) =>
        File.Exists(file) ? JsonSerializer.Deserialize(File.ReadAllText(file), KernelJson.Default.KernelTable)! with { Cpu = cpu } : new KernelTable { Cpu = cpu };

    internal string ToJson() => JsonSerializer.Serialize(this, KernelJson.Default.KernelTable) + "\n";
}

[JsonSourceGenerationOptions(
    WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(KernelTable))]
internal sealed partial class KernelJson : JsonSerializerContext;
