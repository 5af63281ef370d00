using System.Runtime.InteropServices;

namespace FineTuneCore.Native;

[StructLayout(LayoutKind.Sequential)]
internal struct StepValues
{
    public float LossScale;
    public uint DropoutStep;
    public float GradientScale;
    public int Skip;
}

[StructLayout(LayoutKind.Sequential)]
internal struct UpdateValues
{
    public float LearningRate;
    public float Decay;
    public float StepSize;
    public float VCorrection;
}
