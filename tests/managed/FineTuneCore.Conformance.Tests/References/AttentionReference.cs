namespace FineTuneCore.Conformance.Tests.References;

/// <summary>Attention over key intervals in plain loops; <c>round</c> makes it double, or the naive fp32 computation.</summary>
internal sealed class AttentionReference(int queryRows, int keyRows, int firstQuery, int heads, int keyHeads, int headDim, float scale, int[] keyBegin, Func<double, double> round)
{
    internal double[] Output { get; } = new double[queryRows * heads * headDim];

    internal double[] Lse { get; } = new double[queryRows * heads];

    internal double[] Dq { get; } = new double[queryRows * heads * headDim];

    internal double[] Dk { get; } = new double[keyRows * keyHeads * headDim];

    internal double[] Dv { get; } = new double[keyRows * keyHeads * headDim];

    internal void Forward(float[] q, float[] k, float[] v)
    {
        var p = new double[keyRows];
        for (int i = 0; i < queryRows; i++)
        {
            for (int head = 0; head < heads; head++)
            {
                int keyHead = head / (heads / keyHeads), row = (i * heads + head) * headDim, begin = keyBegin[i], end = firstQuery + i + 1;
                double maximum = double.NegativeInfinity, sum = 0;
                for (int j = begin; j < end; j++) maximum = Math.Max(maximum, p[j] = round(Dot(q, row, k, Key(j, keyHead)) * scale));
                for (int j = begin; j < end; j++) sum = round(sum + (p[j] = round(Math.Exp(round(p[j] - maximum)))));
                Lse[i * heads + head] = sum > 0 ? round(maximum + round(Math.Log(sum))) : double.NegativeInfinity;
                for (int j = begin; j < end; j++)
                    for (int d = 0; d < headDim; d++) Output[row + d] = round(Output[row + d] + round(round(p[j] / sum) * v[Key(j, keyHead) + d]));
            }
        }
    }

    /// <summary>From the o and lse that the op is given: their rounding is no error of the op's.</summary>
    internal void Backward(float[] q, float[] k, float[] v, float[] dout, float[] o, float[] lse)
    {
        for (int i = 0; i < queryRows; i++)
        {
            for (int head = 0; head < heads; head++)
            {
                int keyHead = head / (heads / keyHeads), row = (i * heads + head) * headDim;
                double delta = Dot(dout, row, o, row);
                for (int j = keyBegin[i]; j < firstQuery + i + 1; j++)
                {
                    int key = Key(j, keyHead);
                    double p = round(Math.Exp(round(round(Dot(q, row, k, key) * scale) - lse[i * heads + head])));
                    double ds = round(round(p * round(Dot(dout, row, v, key) - delta)) * scale);
                    for (int d = 0; d < headDim; d++)
                    {
                        Dq[row + d] = round(Dq[row + d] + round(ds * k[key + d]));
                        Dk[key + d] = round(Dk[key + d] + round(ds * q[row + d]));
                        Dv[key + d] = round(Dv[key + d] + round(p * dout[row + d]));
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
