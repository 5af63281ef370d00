namespace FineTuneCore.Benchmarks;

/// <summary>The matrix products that both sides time: the linear layers of the step, its head, and those of a 7B model.</summary>
internal static class Shapes
{
    /// <summary>W [N, K].</summary>
    internal static readonly IReadOnlyList<(int N, int K)> Weights = [(576, 576), (1536, 576), (576, 1536), (8192, 576), (4096, 4096)];

    /// <summary>Rows of X.</summary>
    internal static readonly IReadOnlyList<int> Rows = [1, 4, 16, 64, 256, 1024];

    internal static int MostRows => Rows.Max();

    /// <summary>From so many rows on a product is bound by arithmetic, and two threads are held against one.</summary>
    internal const int ManyRows = 256;

    /// <summary>y = x Wᵀ, and dx = dy W.</summary>
    internal static readonly IReadOnlyList<string> Directions = ["forward", "backward"];

    /// <summary>W [4096, 4096] of the NF4 comparison, and its rows of X.</summary>
    internal const int Nf4Size = 4096;

    internal static readonly IReadOnlyList<int> Nf4Rows = [16, 128, 512];

    /// <summary>Numbers of no special shape for a product.</summary>
    internal static float[] Values(ulong stream, int count) => LoraStep.Uniform(stream, count, 1);

    internal static double Gigaflops(int m, int n, int k, double milliseconds) => 2e-6 * m * n * k / milliseconds;
}
