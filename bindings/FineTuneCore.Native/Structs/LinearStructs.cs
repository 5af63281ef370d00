using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

[StructLayout(LayoutKind.Sequential)]
internal struct LoraSegment
{
    public uint StructSize;
    public int Rank;
    public long RowBegin;
    public long RowEnd;
    public nint A;
    public nint B;
    public nint S;
    public nint Da;
    public nint Db;
    public float Scaling;
    public float DropoutProbability;
    public ulong DropoutSeed;
}

[StructLayout(LayoutKind.Sequential)]
internal struct LinearParams
{
    public uint StructSize;
    public int Dtype;
    public long Rows;
    public long XRowStride;
    public long YRowStride;
    public long DxRowStride;
    public long DyRowStride;
    public long DweightRowStride;
    public int Accumulate;
    public uint DropoutStep;
    public nint DropoutSamples;
    public nint DropoutPositions;
}

[StructLayout(LayoutKind.Sequential)]
internal struct LinearLayout
{
    public uint StructSize;
    public int Reserved;
    public long XRowStride;
    public long YRowStride;
    public long WeightRowStride;
}
