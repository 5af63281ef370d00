using FineTuneCore.Tensors;

namespace FineTuneCore.Conformance.Tests.References;

/// <summary>An adapter of <see cref="LinearReference"/>.</summary>
internal sealed record ReferenceSegment(int Begin, int End, int Rank, float[] A, float[] B, float Scaling, float Dropout, ulong Seed, int Pool);

/// <summary>
/// The linear layer with adapters in plain loops. <c>round</c> makes it double, or the naive fp32 computation; <c>word</c> is what a unit that multiplies
/// 16-bit words does to the adapter's fp32 operands first (the caller does it to w).
/// </summary>
internal sealed class LinearReference(int m, int n, int k, float[] x, float[] w, float[] dy, float[]? bias, ReferenceSegment[] segments, Func<double, double> round, Func<double, double> word)
{
    internal required uint[] Samples { get; init; }

    internal required uint[] Positions { get; init; }

    internal uint Step { get; init; }

    internal double[] Y { get; } = new double[m * n];

    internal double[] Dx { get; } = new double[m * k];

    internal double[] Dweight { get; } = new double[n * k];

    internal double[] Dbias { get; } = new double[n];

    internal List<double[]> Da { get; } = [];

    internal List<double[]> Db { get; } = [];

    internal void Run()
    {
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                double sum = 0, g = dy[i * n + j];
                for (int c = 0; c < k; c++)
                {
                    sum = round(sum + round((double)x[i * k + c] * w[j * k + c]));
                    Dx[i * k + c] = round(Dx[i * k + c] + round(g * w[j * k + c]));
                    Dweight[j * k + c] = round(Dweight[j * k + c] + round(g * x[i * k + c]));
                }

                Y[i * n + j] = round(sum + (bias is null ? 0 : bias[j]));
                Dbias[j] = round(Dbias[j] + g);
            }
        }

        foreach (ReferenceSegment s in segments) Adapter(s);
    }

    private void Adapter(ReferenceSegment s)
    {
        int groups = k / s.Pool;
        var da = new double[s.Rank * groups];
        var db = new double[n * s.Rank];
        var input = new double[groups];
        for (int i = s.Begin; i < s.End; i++)
        {
            for (int g = 0; g < groups; g++)
            {
                double sum = 0;
                for (int c = 0; c < s.Pool; c++) sum = round(sum + x[i * k + g * s.Pool + c]);
                input[g] = word(round(round(sum / s.Pool) * Mask(s, i, g)));
            }

            for (int t = 0; t < s.Rank; t++)
            {
                double down = 0, ds = 0;
                for (int g = 0; g < groups; g++) down = round(down + round(input[g] * word(s.A[t * groups + g])));
                down = word(down);
                for (int j = 0; j < n; j++)
                {
                    double gradient = round((double)s.Scaling * dy[i * n + j]);
                    ds = round(ds + round(gradient * word(s.B[j * s.Rank + t])));
                    db[j * s.Rank + t] = round(db[j * s.Rank + t] + round(gradient * down));
                    Y[i * n + j] = round(Y[i * n + j] + round(s.Scaling * round(down * word(s.B[j * s.Rank + t]))));
                }

                ds = word(ds);

                for (int g = 0; g < groups; g++) da[t * groups + g] = round(da[t * groups + g] + round(ds * input[g]));
                for (int c = 0; c < k; c++)
                {
                    double share = round(round(Mask(s, i, c / s.Pool) * round(ds * word(s.A[t * groups + c / s.Pool]))) / s.Pool);
                    Dx[i * k + c] = round(Dx[i * k + c] + share);
                }
            }
        }

        Da.Add(da);
        Db.Add(db);
    }

    private double Mask(ReferenceSegment s, int row, int feature)
    {
        double threshold = Math.Round(65536.0 * s.Dropout);
        if (threshold == 0) return 1;
        uint[] words = Philox([(uint)(feature / 8), Positions[row], Samples[row], Step], (uint)s.Seed, (uint)(s.Seed >> 32));
        uint word = words[feature % 8 / 2];
        return (feature % 2 == 0 ? word & 0xffff : word >> 16) < threshold ? 0 : round(1 / (1 - threshold / 65536));
    }

    /// <summary>Philox4x32-10, Salmon et al. 2011.</summary>
    internal static uint[] Philox(uint[] counter, uint low, uint high)
    {
        uint[] c = [.. counter];
        for (int i = 0; i < 10; i++)
        {
            ulong p0 = 0xD2511F53UL * c[0], p1 = 0xCD9E8D57UL * c[2];
            c = [(uint)(p1 >> 32) ^ c[1] ^ low, (uint)p1, (uint)(p0 >> 32) ^ c[3] ^ high, (uint)p0];
            low += 0x9E3779B9;
            high += 0xBB67AE85;
        }

        return c;
    }
}
