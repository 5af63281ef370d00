namespace FineTuneCore.Files;

/// <summary>Element types of safetensors files, named as the format names them.</summary>
internal enum ElementType
{
    BOOL,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

internal static class ElementTypes
{
    /// <summary>Bytes of one element.</summary>
    internal static int Size(this ElementType type) => type switch
    {
        ElementType.BOOL or ElementType.U8 or ElementType.I8 or ElementType.F8_E5M2 or ElementType.F8_E4M3 => 1,
        ElementType.I16 or ElementType.U16 or ElementType.F16 or ElementType.BF16 => 2,
        ElementType.I32 or ElementType.U32 or ElementType.F32 => 4,
        _ => 8,
    };
}
