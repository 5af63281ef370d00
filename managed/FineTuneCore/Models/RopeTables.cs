namespace FineTuneCore.Models;

/// <summary>
/// cos and sin of every position, computed in double on the host, so that each library turns by the same numbers.
/// Su et al. 2021, arXiv:2104.09864; linear: Chen et al. 2023, arXiv:2306.15595; YaRN: Peng et al. 2023, arXiv:2309.00071.
/// </summary>
internal sealed class RopeTables
{
    private RopeTables(float[] cos, float[] sin, int rows, int ropeDim)
    {
        Cos = cos;
        Sin = sin;
        Rows = rows;
        RopeDim = ropeDim;
    }

    /// <summary>[Rows, RopeDim / 2], row-major, times the attention factor of YaRN.</summary>
    internal float[] Cos { get; }

    /// <summary>[Rows, RopeDim / 2].</summary>
    internal float[] Sin { get; }

    internal int Rows { get; }

    /// <summary>Features of a head that are turned.</summary>
    internal int RopeDim { get; }

    /// <summary>Bytes of both tables.</summary>
    internal static long BytesOf(ModelConfig model, int rows) => (long)rows * (RopeDimOf(model) / 2) * 8;

    private static int RopeDimOf(ModelConfig model) => (int)(model.HeadDim * model.Rope.PartialRotaryFactor) / 2 * 2;

    /// <summary>Tables for positions 0 … rows - 1.</summary>
    internal static RopeTables Create(ModelConfig model, int rows)
    {
        RopeConfig rope = model.Rope;
        int ropeDim = RopeDimOf(model);
        int half = ropeDim / 2;
        (double[] frequencies, double attentionFactor) = Frequencies(rope, ropeDim, rows, model.MaxPositionEmbeddings);
        var cos = new float[(long)rows * half];
        var sin = new float[(long)rows * half];
        for (int position = 0; position < rows; position++)
        {
            for (int i = 0; i < half; i++)
            {
                (double s, double c) = Math.SinCos(position * frequencies[i]);
                cos[position * half + i] = (float)(c * attentionFactor);
                sin[position * half + i] = (float)(s * attentionFactor);
            }
        }

        return new RopeTables(cos, sin, rows, ropeDim);
    }

    private static (double[] Frequencies, double AttentionFactor) Frequencies(RopeConfig rope, int dim, int rows, int maxPositions)
    {
        double[] plain = Plain(rope.Theta, dim);
        return rope.Type switch
        {
            "default" => (plain, 1),
            "linear" => ([.. plain.Select(f => f / rope.Factor)], 1),
            "dynamic" => (Plain(DynamicTheta(rope, dim, rows, maxPositions), dim), 1),
            "ntk" => (Plain(rope.Theta * Math.Pow(rope.Factor, dim / (dim - 2.0)), dim), 1),
            "llama3" => ([.. plain.Select(f => Llama3(rope, f))], 1),
            "yarn" => (Yarn(rope, plain, dim), YarnAttentionFactor(rope)),
            _ => throw new InvalidOperationException($"rope type {rope.Type} was let through"),
        };
    }

    private static double[] Plain(double theta, int dim) =>
        [.. Enumerable.Range(0, dim / 2).Select(i => Math.Pow(theta, -2.0 * i / dim))];

    /// <summary>Dynamic NTK: the base grows with the sequence once it exceeds what the model was trained on.</summary>
    private static double DynamicTheta(RopeConfig rope, int dim, int rows, int maxPositions)
    {
        double length = Math.Max(rows, maxPositions);
        return rope.Theta * Math.Pow(rope.Factor * length / maxPositions - (rope.Factor - 1), dim / (dim - 2.0));
    }

    /// <summary>Llama 3.1: long wavelengths are stretched by the factor, short ones kept, a ramp between.</summary>
    private static double Llama3(RopeConfig rope, double frequency)
    {
        double wavelength = 2 * Math.PI / frequency;
        double low = rope.OriginalMaxPositionEmbeddings / rope.LowFreqFactor;
        double high = rope.OriginalMaxPositionEmbeddings / rope.HighFreqFactor;
        if (wavelength < high) return frequency;
        if (wavelength > low) return frequency / rope.Factor;
        double smooth = (rope.OriginalMaxPositionEmbeddings / wavelength - rope.LowFreqFactor) / (rope.HighFreqFactor - rope.LowFreqFactor);
        return (1 - smooth) * frequency / rope.Factor + smooth * frequency;
    }

    private static double[] Yarn(RopeConfig rope, double[] plain, int dim)
    {
        double DimensionOf(double rotations) =>
            dim * Math.Log(rope.OriginalMaxPositionEmbeddings / (rotations * 2 * Math.PI)) / (2 * Math.Log(rope.Theta));

        double low = DimensionOf(rope.BetaFast), high = DimensionOf(rope.BetaSlow);
        if (rope.Truncate) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, dim - 1));
        if (low == high) high += 0.001;
        return [.. plain.Select((f, i) =>
        {
            double interpolated = Math.Clamp((i - low) / (high - low), 0, 1);
            return f / rope.Factor * interpolated + f * (1 - interpolated);
        })];
    }

    private static double YarnAttentionFactor(RopeConfig rope)
    {
        static double Mscale(double factor, double mscale) => factor <= 1 ? 1 : 0.1 * mscale * Math.Log(factor) + 1;
        if (rope.AttentionFactor is { } given) return given;
        return rope is { Mscale: { } m, MscaleAllDim: { } all } && m != 0 && all != 0
            ? Mscale(rope.Factor, m) / Mscale(rope.Factor, all)
            : Mscale(rope.Factor, 1);
    }
}
