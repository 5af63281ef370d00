namespace FineTuneCore.Tensors;

/// <summary>Element types of device memory; the first three have the numbers of <c>ftc.h</c>.</summary>
internal enum DType
{
    F32 = 0,
    BF16 = 1,
    F16 = 2,
    I32 = 16,
    U8 = 17,
}

internal static class DTypes
{
    /// <summary>Bytes of one element.</summary>
    internal static int Size(this DType dtype) => dtype switch
    {
        DType.F32 or DType.I32 => 4,
        DType.BF16 or DType.F16 => 2,
        _ => 1,
    };
}
