namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>What a weight is stored as.</summary>
public enum KernelWeight
{
    F32,
    Bf16,

    /// <summary>Blocks of 64 over the flattened matrix with an fp32 absmax.</summary>
    Nf4,

    /// <summary>Four bits, groups of 64 columns of a row with scale and minimum.</summary>
    Affine,

    /// <summary>A byte with a sign, a scale a row.</summary>
    Int8,
}

/// <summary>
/// y = x Wᵀ and dx = dy W over a frozen weight, with an adapter of rank 16 where the op's name says so; its backward has the gradients of A and B.
/// A QA-LoRA adapter sees the mean of each group of 64 columns.
/// </summary>
public abstract class LinearKernel : ForwardBackwardKernel
{
    protected const int Group = 64;
    protected const float Scaling = 2;
    private const float WeightBound = 0.05f;

    public override KernelFamily Family => Rank > 0 ? KernelFamily.Lora : Weight is KernelWeight.F32 or KernelWeight.Bf16 ? KernelFamily.Linear : KernelFamily.Quantised;

    public override bool IsBf16 => Weight == KernelWeight.Bf16;

    protected KernelWeight Weight => Op switch
    {
        "LinearBf16" => KernelWeight.Bf16,
        "Nf4Linear" or "Nf4LoraLinear" => KernelWeight.Nf4,
        "AffineLinear" or "QaLoraLinear" => KernelWeight.Affine,
        "Int8Linear" => KernelWeight.Int8,
        "Linear" or "LoraLinear" => KernelWeight.F32,
        _ => throw new InvalidOperationException($"{Op} names no weight"),
    };

    protected int Rank => Op.Contains("Lora", StringComparison.Ordinal) ? LoraStep.Rank : 0;

    /// <summary>Columns of x that a column of A sees.</summary>
    protected int Pool => Op == "QaLoraLinear" ? Group : 1;

    protected int M => Size(0);

    protected int N => Size(1);

    protected int K => Size(2);

    /// <summary>[M, K]</summary>
    protected float[] X { get; private set; } = [];

    /// <summary>[M, N]</summary>
    protected float[] Dy { get; private set; } = [];

    /// <summary>[Rank, K / Pool]</summary>
    protected float[] A { get; private set; } = [];

    /// <summary>[N, Rank]</summary>
    protected float[] B { get; private set; } = [];

    /// <summary>[N, K]: what the weight stands for.</summary>
    protected float[] W { get; private set; } = [];

    /// <summary>NF4: the even element in the high nibble. Affine: in the low one.</summary>
    protected byte[] Codes { get; private set; } = [];

    protected float[] Absmax { get; private set; } = [];

    /// <summary>Affine: [N, K / 64], as <see cref="Minimum"/>; int8: [N].</summary>
    protected float[] Scale { get; private set; } = [];

    protected float[] Minimum { get; private set; } = [];

    public override double Work(string method)
    {
        double adapter = 2e-9 * M * Rank * (N + K / Pool);
        return 2e-9 * M * N * K + (method == nameof(Forward) ? adapter : 2 * adapter);
    }

    /// <summary>Makes the numbers.</summary>
    protected override void Prepare()
    {
        (X, Dy) = (Rounded(Uniform(2, (long)M * K)), Rounded(Uniform(3, (long)M * N)));
        (A, B) = (Uniform(4, Rank * (K / Pool), WeightBound), Uniform(5, N * Rank, WeightBound));
        MakeWeight();
    }

    protected override void Check()
    {
        double tolerance = IsBf16 ? 2e-2 : 1e-3; // results are rounded to bf16
        Forward();
        Near("y", Result("y"), M, N, Y, tolerance);
        Backward();
        Near("dx", Result("dx"), M, K, Dx, tolerance);
        if (Rank == 0) return;
        Near("da", Result("da"), Rank, K / Pool, (r, g) => Enumerable.Range(0, M).Sum(m => Ds(m, r) * Input(m, g)), tolerance, samples: 3);
        Near("db", Result("db"), N, Rank, (n, r) => Enumerable.Range(0, M).Sum(m => Scaling * Dy[m * N + n] * S(m, r)), tolerance, samples: 3);
    }

    protected override void Ready() => Forward();

    private double Y(int m, int n) =>
        Enumerable.Range(0, K).Sum(k => (double)X[m * K + k] * W[n * K + k]) + Enumerable.Range(0, Rank).Sum(r => Scaling * S(m, r) * B[n * Rank + r]);

    private double Dx(int m, int k) =>
        Enumerable.Range(0, N).Sum(n => (double)Dy[m * N + n] * W[n * K + k])
        + Enumerable.Range(0, Rank).Sum(r => Ds(m, r) * A[r * (K / Pool) + k / Pool] / Pool);

    private double S(int m, int r) => Enumerable.Range(0, K / Pool).Sum(g => Input(m, g) * A[r * (K / Pool) + g]);

    private double Ds(int m, int r) => Scaling * Enumerable.Range(0, N).Sum(n => (double)Dy[m * N + n] * B[n * Rank + r]);

    /// <summary>What the adapter sees.</summary>
    private double Input(int m, int g) => Enumerable.Range(g * Pool, Pool).Sum(k => (double)X[m * K + k]) / Pool;

    private float[] Rounded(float[] values)
    {
        if (IsBf16) for (int i = 0; i < values.Length; i++) values[i] = ToBf16(values[i]);
        return values;
    }

    private void MakeWeight()
    {
        if (Weight is KernelWeight.F32 or KernelWeight.Bf16)
        {
            W = Rounded(Uniform(1, (long)N * K, WeightBound));
            return;
        }

        W = new float[N * K];
        if (Weight == KernelWeight.Int8)
        {
            Codes = [.. Nf4Numbers.Codes(N * K).Select(code => code == 128 ? (byte)0 : code)]; // -128 is none
            Scale = [.. Uniform(6, N, 0.0001f).Select(v => v + 0.0003f)];
            for (int i = 0; i < W.Length; i++) W[i] = (sbyte)Codes[i] * Scale[i / K];
            return;
        }

        Codes = Nf4Numbers.Codes(N * K / 2);
        if (Weight == KernelWeight.Nf4)
        {
            Absmax = Nf4Numbers.Absmax(N * K / Nf4Numbers.BlockSize);
            ReadOnlySpan<float> map = Nf4Numbers.Map;
            for (int i = 0; i < W.Length; i++) W[i] = map[(i & 1) == 0 ? Codes[i / 2] >> 4 : Codes[i / 2] & 15] * Absmax[i / Nf4Numbers.BlockSize];
            return;
        }

        Scale = [.. Uniform(6, N * (K / Group), 0.002f).Select(v => v + 0.006f)];
        Minimum = [.. Uniform(7, N * (K / Group), 0.01f).Select(v => v - 0.045f)];
        for (int i = 0; i < W.Length; i++)
        {
            int code = (i & 1) == 0 ? Codes[i / 2] & 15 : Codes[i / 2] >> 4;
            W[i] = MathF.FusedMultiplyAdd(Scale[i / Group], code, Minimum[i / Group]); // K is a multiple of Group, so that no group straddles rows
        }
    }

    /// <summary>Rounded to nearest even, as bf16 holds it.</summary>
    private static float ToBf16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
    }
}
