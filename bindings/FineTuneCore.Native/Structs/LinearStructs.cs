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
    public int Pool;
    public int Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AffineQuantizeParams
{
    public uint StructSize;
    public int Bits;
    public long Rows;
    public long Cols;
    public long XRowStride;
    public int GroupSize;
    public int Search;
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
    public int XBorder;
    public int DyBorder;
    public nint DropoutSamples;
    public nint DropoutPositions;
    public nint StepValues;
}

[StructLayout(LayoutKind.Sequential)]
internal struct LinearLayout
{
    public uint StructSize;
    public int Border;
    public long XRowStride;
    public long YRowStride;
    public long WeightRowStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct LinearWorkspaceParams
{
    public uint StructSize;
    public int Dtype;
    public int WeightFormat;
    public int Border;
    public long Rows;
    public long InFeatures;
    public long OutFeatures;
    public long Rank;
}

[StructLayout(LayoutKind.Sequential)]
internal struct CrossEntropyWorkspaceParams
{
    public uint StructSize;
    public int Dtype;
    public int WeightFormat;
    public int Reserved;
    public long Rows;
    public long HiddenSize;
    public long VocabSize;
}
