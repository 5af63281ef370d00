using System.Globalization;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>An op with the sizes of a call, as <c>benchmarks/kernels.txt</c> lists them.</summary>
public sealed record KernelCase(string Op, IReadOnlyList<int> Sizes)
{
    private static readonly Lazy<IReadOnlyList<KernelCase>> Listed = new(() =>
    {
        using Stream file = typeof(KernelCase).Assembly.GetManifestResourceStream("kernels.txt")!;
        using var reader = new StreamReader(file);
        return Parse(reader.ReadToEnd());
    });

    internal static IReadOnlyList<KernelCase> All => Listed.Value;

    /// <summary>Such as 1024x576x1536.</summary>
    public override string ToString() => string.Join('x', Sizes.Select(s => s.ToString(CultureInfo.InvariantCulture)));

    /// <summary>What processes call a case: <c>LoraLinear.Forward 1024x576x1536</c>.</summary>
    internal string Key(string method) => $"{Op}.{method} {this}";

    /// <exception cref="FormatException">A line is no op followed by sizes.</exception>
    internal static IReadOnlyList<KernelCase> Parse(string text) =>
    [
        .. text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Where(line => line[0] != '#').Select(line =>
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            int[] sizes = [.. words.Skip(1).Select(w => int.TryParse(w, CultureInfo.InvariantCulture, out int size) && size > 0 ? size
                : throw new FormatException($"kernels.txt: '{line}' has the size '{w}', expected a number from 1"))];
            return sizes.Length > 0 ? new KernelCase(words[0], sizes) : throw new FormatException($"kernels.txt: '{line}' has no sizes");
        }),
    ];

    /// <summary>Two cases are the same when op and sizes are.</summary>
    public bool Equals(KernelCase? other) => other is not null && Op == other.Op && Sizes.SequenceEqual(other.Sizes);

    public override int GetHashCode() => HashCode.Combine(Op, Sizes.Count, Sizes[0], Sizes[^1]);
}
