using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

/// <summary>A weight matrix in one of the formats of <c>ftc.h</c>; mirrors <c>ftc_weight</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Weight
{
    public uint StructSize;
    public int Format;
    public long Rows;
    public long Cols;
    public long RowStride;
    public nint Data;
    public nint Absmax;
    public nint NestedAbsmax;
    public nint NestedMap;
    public nint QuantMap;
    public float NestedOffset;
    public int BlockSize;
    public int NestedBlockSize;
    public int Border;
    public int Bits;
    public int GroupSize;
    public nint Scale;
    public nint Minimum;
}
