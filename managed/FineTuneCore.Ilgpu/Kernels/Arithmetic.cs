namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>a · b + c of a product's inner loop: GPUs are fastest fused, a CPU's OpenCL in two operations.</summary>
internal interface IMultiplyAdd
{
    float Of(float a, float b, float c);
}

internal struct Fused : IMultiplyAdd
{
    public readonly float Of(float a, float b, float c) => Intrinsics.Fma(a, b, c);
}

internal struct Separate : IMultiplyAdd
{
    public readonly float Of(float a, float b, float c) => a * b + c;
}

/// <summary>
/// A sum of two fp32 numbers, for sums that want more than fp32 on devices without fp64 (48 bits). Dekker 1971, "A floating-point technique for
/// extending the available precision"; it needs operations rounded one by one, as ILGPU emits them.
/// </summary>
internal struct DoubleFloat
{
    public float High;
    public float Low;

    /// <summary>a + b.</summary>
    public static DoubleFloat Add(DoubleFloat a, DoubleFloat b)
    {
        float sum = a.High + b.High, part = sum - a.High;
        float rest = (a.High - (sum - part)) + (b.High - part);
        return Normalized(sum, rest + (a.Low + b.Low));
    }

    /// <summary>a · b, exact but for underflow.</summary>
    public static DoubleFloat Product(float a, float b)
    {
        float product = a * b;
        return new DoubleFloat { High = product, Low = Intrinsics.Fma(a, b, -product) };
    }

    /// <summary>a · b.</summary>
    public static DoubleFloat Multiply(DoubleFloat a, float b)
    {
        DoubleFloat product = Product(a.High, b);
        return Normalized(product.High, product.Low + a.Low * b);
    }

    /// <summary>Rounded to fp32; infinity and NaN stay what they are.</summary>
    public readonly float Rounded() => High - High == 0f ? High + Low : High;

    private static DoubleFloat Normalized(float high, float low)
    {
        float sum = high + low;
        return new DoubleFloat { High = sum, Low = low - (sum - high) };
    }
}
