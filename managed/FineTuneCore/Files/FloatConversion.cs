using System.Runtime.InteropServices;

namespace FineTuneCore.Files;

/// <summary>Float types of checkpoints to fp32 and back, on the host.</summary>
internal static class FloatConversion
{
    /// <summary>destination[i] = source[i], exactly for F32, BF16, F16; F64 is rounded.</summary>
    internal static void ToF32(Span<float> destination, ReadOnlySpan<byte> source, ElementType type)
    {
        switch (type)
        {
            case ElementType.F32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                return;
            case ElementType.BF16:
                ReadOnlySpan<ushort> bits = MemoryMarshal.Cast<byte, ushort>(source);
                for (int i = 0; i < bits.Length; i++) destination[i] = BitConverter.UInt32BitsToSingle((uint)bits[i] << 16);
                return;
            case ElementType.F16:
                ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(source);
                for (int i = 0; i < halves.Length; i++) destination[i] = (float)halves[i];
                return;
            case ElementType.F64:
                ReadOnlySpan<double> doubles = MemoryMarshal.Cast<byte, double>(source);
                for (int i = 0; i < doubles.Length; i++) destination[i] = (float)doubles[i];
                return;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), $"{type} is not a float type of checkpoints");
        }
    }

    /// <summary>fp32 to F32, BF16 or F16, rounded to nearest even; NaN stays NaN.</summary>
    internal static void FromF32(Span<byte> destination, ReadOnlySpan<float> source, ElementType type)
    {
        switch (type)
        {
            case ElementType.F32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                return;
            case ElementType.BF16:
                Span<ushort> bits = MemoryMarshal.Cast<byte, ushort>(destination);
                for (int i = 0; i < source.Length; i++) bits[i] = ToBf16(source[i]);
                return;
            case ElementType.F16:
                Span<Half> halves = MemoryMarshal.Cast<byte, Half>(destination);
                for (int i = 0; i < source.Length; i++) halves[i] = (Half)source[i];
                return;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), $"{type} is not a float type that is written");
        }
    }

    private static ushort ToBf16(float value)
    {
        if (float.IsNaN(value)) return 0x7FC0;
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
