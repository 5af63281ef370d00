namespace FineTuneCore.Kernels;

/// <summary>Types of elements; the first three have the numbers of <c>ftc.h</c>.</summary>
public enum DType
{
    /// <summary>float.</summary>
    F32 = 0,

    /// <summary>bfloat16: the upper half of a float.</summary>
    BF16 = 1,

    /// <summary>Half.</summary>
    F16 = 2,

    /// <summary>int, and uint where a number is never negative.</summary>
    I32 = 16,

    /// <summary>byte.</summary>
    U8 = 17,

    /// <summary>sbyte.</summary>
    I8 = 18,
}

internal static class DTypes
{
    internal static int Size(this DType dtype) => dtype switch
    {
        DType.F32 or DType.I32 => 4,
        DType.BF16 or DType.F16 => 2,
        DType.U8 or DType.I8 => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "no type of elements"),
    };

    /// <summary>The dtype whose elements a span of <typeparamref name="T"/> holds.</summary>
    internal static DType Of<T>()
        where T : unmanaged =>
        typeof(T) == typeof(float) ? DType.F32 : typeof(T) == typeof(ushort) ? DType.BF16 : typeof(T) == typeof(Half) ? DType.F16
        : typeof(T) == typeof(int) || typeof(T) == typeof(uint) ? DType.I32 : typeof(T) == typeof(byte) ? DType.U8 : typeof(T) == typeof(sbyte) ? DType.I8
        : throw new ArgumentException($"{typeof(T).Name} is no type of elements; expected float, ushort (bits of bfloat16), Half, int, uint, byte or sbyte");
}
