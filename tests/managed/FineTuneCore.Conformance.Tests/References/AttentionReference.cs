namespace FineTuneCore.Conformance.Tests.References;

/// <summary>Attention over key intervals in plain loops; <c>round</c> makes it double, or the naive fp32 computation.</summary>
internal sealed class AttentionReference(int queryRows, int keyRows, int firstQuery, int heads, int keyHeads, int headDim, float scale, int[] keyBegin, Func<double, double> round)
{
    internal double[] Output { get; } = new double[queryRows * heads * headDim];

    internal double[] Lse { get; } = new double[queryRows * heads];

    internal double[] Dq { get; } = new double[queryRows * heads * headDim];

    internal double[] Dk { get; } = new double[keyRows * keyHeads * headDim];

    internal double[] Dv { get; } = new double[keyRows * keyHeads * headDim];

    internal void Run(float[] q, float[] k, float[] v, float[] dout)
    {
        var p = new double[keyRows];
        for (int i = 0; i < queryRows; i++)
        {
            for (int head = 0; head < heads; head++)
            {
                int keyHead = head / (heads / keyHeads), row = (i * heads + head) * headDim, begin = keyBegin[i], end = firstQuery + i + 1;
                if (begin >= end)
                {
                    Lse[i * heads + head] = double.NegativeInfinity;
                    continue;
                }

                double maximum = double.NegativeInfinity, sum = 0;
                for (int j = begin; j < end; j++) maximum = Math.Max(maximum, p[j] = round(Dot(q, row, k, Key(j, keyHead)) * scale));
                for (int j = begin; j < end; j++) sum = round(sum + (p[j] = round(Math.Exp(round(p[j] - maximum)))));
                Lse[i * heads + head] = round(maximum + round(Math.Log(sum)));
                for (int j = begin; j < end; j++) p[j] = round(p[j] / sum);
                double delta = 0;
                for (int d = 0; d < headDim; d++)
                {
                    double o = 0;
                    for (int j = begin; j < end; j++) o = round(o + round(p[j] * v[Key(j, keyHead) + d]));
                    Output[row + d] = o;
                    delta = round(delta + round(o * dout[row + d]));
                }

                for (int j = begin; j < end; j++)
                {
                    int key = Key(j, keyHead);
                    double ds = round(round(p[j] * round(Dot(dout, row, v, key) - delta)) * scale);
                    for (int d = 0; d < headDim; d++)
                    {
                        Dq[row + d] = round(Dq[row + d] + round(ds * k[key + d]));
                        Dk[key + d] = round(Dk[key + d] + round(ds * q[row + d]));
                        Dv[key + d] = round(Dv[key + d] + round(p[j] * dout[row + d]));
                    }
                }
            }
        }
    }

    private int Key(int j, int keyHead) => (j * keyHeads + keyHead) * headDim;

    private double Dot(float[] a, int atA, float[] b, int atB)
    {
        double sum = 0;
        for (int d = 0; d < headDim; d++) sum = round(sum + round((double)a[atA + d] * b[atB + d]));
        return sum;
    }
}
