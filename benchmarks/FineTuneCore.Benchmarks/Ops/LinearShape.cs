namespace FineTuneCore.Benchmarks.Ops;

/// <summary>Rows of X, out-features, in-features of a linear layer of a model.</summary>
public readonly record struct LinearShape(int M, int N, int K)
{
    /// <summary>The step's down projection, and query and down projections of Llama-3-8B, at a full batch and at few rows.</summary>
    public static IEnumerable<LinearShape> Models => [new(1024, 576, 1536), new(1024, 4096, 4096), new(16, 4096, 4096), new(512, 4096, 14336)];

    /// <summary>10⁹ operations of one product.</summary>
    public double Gigaflop => 2e-9 * M * N * K;

    public override string ToString() => $"M={M} {N}x{K}";
}
