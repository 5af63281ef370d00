using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

[StructLayout(LayoutKind.Sequential)]
internal struct EmbeddingParams
{
    public uint StructSize;
    public int Dtype;
    public long Rows;
    public long YRowStride;
    public long DweightRowStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct RmsNormParams
{
    public uint StructSize;
    public int Dtype;
    public long Rows;
    public long Heads;
    public long HiddenSize;
    public long XRowStride;
    public long YRowStride;
    public long ResidualRowStride;
    public long DxRowStride;
    public float Eps;
    public int Reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal struct RopeParams
{
    public uint StructSize;
    public int Dtype;
    public long Rows;
    public long Heads;
    public long HeadDim;
    public long RopeDim;
    public long RowStride;
    public long TableRows;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AttentionParams
{
    public uint StructSize;
    public int Dtype;
    public long QueryRows;
    public long KeyRows;
    public long FirstQuery;
    public int Heads;
    public int KeyValueHeads;
    public int HeadDim;
    public float Scale;
    public long QRowStride;
    public long KRowStride;
    public long VRowStride;
    public long ORowStride;
    public long DqRowStride;
    public long DkRowStride;
    public long DvRowStride;
    public long DoRowStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SwigluParams
{
    public uint StructSize;
    public int Dtype;
    public long Rows;
    public long Cols;
    public long GateRowStride;
    public long YRowStride;
    public long DgateRowStride;
}

[StructLayout(LayoutKind.Sequential)]
internal struct CrossEntropyParams
{
    public uint StructSize;
    public int Dtype;
    public long Rows;
    public long XRowStride;
    public long DxRowStride;
    public long DweightRowStride;
    public float GradientScale;
    public int TrainedRows;
    public nint StepValues;
}

[StructLayout(LayoutKind.Sequential)]
internal struct AdamwParams
{
    public uint StructSize;
    public float LearningRate;
    public float Beta1;
    public float Beta2;
    public float Eps;
    public float WeightDecay;
    public float GradientScale;
    public int Reserved;
    public long Step;
    public long Count;
    public nint StepValues;
    public nint UpdateValues;
}

[StructLayout(LayoutKind.Sequential)]
internal struct SgdParams
{
    public uint StructSize;
    public float LearningRate;
    public float Momentum;
    public float WeightDecay;
    public float GradientScale;
    public int Reserved;
    public long Count;
    public nint StepValues;
    public nint UpdateValues;
}
