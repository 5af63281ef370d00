using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>How elements of memory become fp32 and back, rounded to nearest even; NaN stays NaN. OpenCL has no bf16, and fp16 only at times: both are bits here.</summary>
internal interface IElement<T>
    where T : unmanaged
{
    float Load(T value);

    T Store(float value);
}

internal struct F32Element : IElement<float>
{
    public readonly float Load(float value) => value;

    public readonly float Store(float value) => value;
}

internal struct Bf16Element : IElement<ushort>
{
    public readonly float Load(ushort value) => Interop.IntAsFloat((uint)value << 16);

    public readonly ushort Store(float value)
    {
        uint bits = Interop.FloatAsInt(value);
        if ((bits & 0x7fffffffu) > 0x7f800000u) return (ushort)((bits >> 16) | 0x40u);
        return (ushort)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
}

internal struct F16Element : IElement<ushort>
{
    private const float SmallestSubnormal = 5.9604644775390625e-8f; // 2^-24

    public readonly float Load(ushort value)
    {
        uint sign = ((uint)value & 0x8000u) << 16, exponent = ((uint)value >> 10) & 31u, mantissa = (uint)value & 0x3ffu;
        if (exponent == 0) return Interop.IntAsFloat(Interop.FloatAsInt((int)mantissa * SmallestSubnormal) | sign);
        uint wide = exponent == 31 ? 255u : exponent + 112u; // the biases differ by 112
        return Interop.IntAsFloat(sign | (wide << 23) | (mantissa << 13));
    }

    public readonly ushort Store(float value)
    {
        uint bits = Interop.FloatAsInt(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
        if (magnitude > 0x7f800000u) return (ushort)(sign | 0x7e00u);
        if (magnitude >= 0x477ff000u) return (ushort)(sign | 0x7c00u); // from 65520 on it rounds to infinity
        // Below 2^-14 the sum with 0.5 rounds to a multiple of 2^-24, which is what fp16 has there.
        if (magnitude < 0x38800000u) return (ushort)(sign | (Interop.FloatAsInt(Interop.IntAsFloat(magnitude) + 0.5f) - 0x3f000000u));
        return (ushort)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
    }
}
