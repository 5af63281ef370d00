namespace FineTuneCore.Native.Tests.Kernels;

/// <summary>What the examples are held against: plain loops in double.</summary>
internal static class Loops
{
    internal static float[] Random(int count, int seed, float deviation = 1)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(deviation * (2 * random.NextDouble() - 1)))];
    }

    /// <summary>x [m, k] · wᵀ, w [n, k].</summary>
    internal static double[] TimesTransposed(IReadOnlyList<double> x, IReadOnlyList<double> w, int m, int n, int k)
    {
        var y = new double[m * n];
        for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
        for (int l = 0; l < k; l++)
            y[i * n + j] += x[i * k + l] * w[j * k + l];
        return y;
    }

    /// <summary>Transposed x: [k, m] of [m, k].</summary>
    internal static double[] Transposed(IReadOnlyList<double> x, int m, int k)
    {
        var y = new double[m * k];
        for (int i = 0; i < m; i++)
        for (int l = 0; l < k; l++)
            y[l * m + i] = x[i * k + l];
        return y;
    }

    internal static double[] Doubles(IEnumerable<float> values) => [.. values.Select(v => (double)v)];

    internal static double[] Sum(double[] a, double[] b, double scale = 1) => [.. a.Zip(b, (x, y) => x + scale * y)];

    /// <summary>Means of <paramref name="pool"/> neighbours: [m, k / pool] of [m, k].</summary>
    internal static double[] Pooled(double[] x, int pool) => [.. x.Chunk(pool).Select(c => c.Average())];
}
