using FineTuneCore.Tensors;

namespace FineTuneCore.Conformance.Tests.Devices;

/// <summary>Random values and 16-bit types.</summary>
internal static class Numbers
{
    /// <summary>So many values in [-scale, scale), as the type stores them.</summary>
    internal static float[] Random(int seed, long count, float scale = 1f, DType dtype = DType.F32)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (long i = 0; i < count; i++) values[i] = Rounded((random.NextSingle() * 2 - 1) * scale, dtype);
        return values;
    }

    internal static float Rounded(float value, DType dtype) => dtype == DType.F32 ? value : Value(Bits(value, dtype), dtype);

    internal static ushort Bits(float value, DType dtype)
    {
        if (dtype == DType.F16) return BitConverter.HalfToUInt16Bits((Half)value);
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value)) return (ushort)((bits >> 16) | 0x40);
        uint below = bits & 0xffff, kept = bits >> 16;
        return (ushort)(below > 0x8000 || (below == 0x8000 && (kept & 1) == 1) ? kept + 1 : kept);
    }

    internal static float Value(ushort bits, DType dtype) =>
        dtype == DType.F16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
