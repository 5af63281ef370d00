using FineTuneCore.Kernels;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Native.Tests.Kernels;

/// <summary>What somebody reads who gives a kernel something wrong; nothing of it reaches the native library.</summary>
public sealed class ArgumentTests : IDisposable
{
    private readonly Device device = Device.OpenCpu(threads: 1);
    private readonly DeviceStream stream;
    private readonly Workspace workspace;

    public ArgumentTests()
    {
        stream = device.CreateStream();
        workspace = new Workspace(stream);
    }

    public void Dispose()
    {
        workspace.Dispose();
        stream.Dispose();
        device.Dispose();
    }

    [Fact]
    public void AShapeThatDoesNotFitIsNamed()
    {
        Throws(() => Swiglu.Forward(stream, new float[4], new float[4], new float[5]), "Swiglu.Forward: up is [1, 5] F32, expected [1, 4] F32");
        Throws(
            () => Linear.Forward(stream, new float[3], new float[8], LinearWeight.Dense(TensorView.Of(new float[24], 4, 6)), workspace),
            "Linear.Forward: x is [1, 8] F32, expected [1, 6] F32");
        Throws(
            () => LinearWeight.Nf4(new byte[31], new float[1], 1, 64),
            "LinearWeight.Nf4: codes is [1, 31] U8, expected 32 contiguous elements of U8");
        Throws(
            () => Attention.Forward(stream, new float[8], new float[8], new float[4], new float[4], new AttentionShape(2, 1, 4, 1, FirstQuery: 1), workspace),
            "Attention.Forward: shape puts query 0 at key 1, so that 1 queries end past the 1 keys");
        Throws(
            () => AffineGroups.Quantize(stream, new byte[4], new float[1], new float[1], new float[48], bits: 4, groupSize: 32),
            "AffineGroups.Quantize: groupSize is 32, of which 48 columns are no multiple");
        Throws(() => AdamW.Step(stream, new float[2], new float[2], new float[2], new float[2], new AdamWOptions { LearningRate = 1 }, step: 0), "AdamW.Step: step is 0, expected 1 for the first update");
    }

    [Fact]
    public void ATypeThatDoesNotFitIsNamed()
    {
        Throws(() => RmsNorm.Forward(stream, new float[4], new int[4], new float[4], 0), "RmsNorm.Forward: x is [1, 4] I32, expected F32 or BF16");
        Throws(() => Rope.Forward(stream, new float[4], new float[1], new float[2], new float[2], 4), "Rope.Forward: positions is [1, 1] F32, expected 1 contiguous elements of I32");
        Throws(() => TensorView.Of(new double[1], 1, 1), "Double is no type of elements; expected float, ushort (bits of bfloat16), Half, int, uint, byte or sbyte");
    }

    [Fact]
    public void AReadOnlySpanIsNotWritten() => Throws(
        () => Swiglu.Forward(stream, (ReadOnlySpan<float>)new float[4], new float[4], new float[4]), "Swiglu.Forward: y was made of a ReadOnlySpan, but is written");

    [Fact]
    public void AGradientThatNeedsTheInputSaysSo() => Throws(
        () => Linear.Backward(stream, TensorView.None, new float[4], TensorView.None, LinearWeight.Dense(TensorView.Of(new float[24], 4, 6)), workspace, dweight: TensorView.Of(new float[24], 4, 6)),
        "Linear.Backward: x is none, expected the input of forward: dA and dweight are made of it");

    [Fact]
    public void AViewStaysInItsMemory()
    {
        using DeviceBuffer buffer = device.Allocate(64);
        Throws(() => buffer.View(DType.F32, 4, 4, offsetBytes: 4), "[4, 4] F32 at byte 4 ends at byte 68, past the end of the buffer of 64");
        Throws(() => TensorView.Of(new float[10], 2, 4, rowStride: 8), "10 elements are too few for 2 rows of 4 with stride 8, which take 12");
        Throws(() => TensorView.Of(new float[10], 2, 4, rowStride: 3), "the row stride is 3, expected the row's 4 columns or more");
        Throws(() => TensorView.At(0, DType.F32, 1, 1), "the address is 0; for no tensor there is TensorView.None");
        Throws(() => TensorView.Of(new float[8], 2, 4).ColumnRange(3, 2), "columns [3, 5) of a tensor of 4");
        TensorView.Of(new float[9], 2, 4, rowStride: 5).RowRange(1, 1).Columns.Should().Be(4);
    }

    [Fact]
    public void AWorkspaceServesOneStream()
    {
        using DeviceStream other = device.CreateStream();
        Throws(
            () => Linear.Forward(other, new float[4], new float[6], LinearWeight.Dense(TensorView.Of(new float[24], 4, 6)), workspace),
            "Linear.Forward: the workspace belongs to another stream, whose ops may be using it; make one for each stream");
    }

    [Fact]
    public void TheLibrarysOwnSentenceArrives()
    {
        Action open = () => Device.OpenCpu(threads: 1000);
        open.Should().Throw<FtcException>().Which.Should().Match<FtcException>(e => e.Status == FtcStatus.InvalidArgument && e.Message.Contains("threads is 1000"));
        Action target = () => LinearCrossEntropy.Compute(
            stream, new float[1], new float[6], LinearWeight.Dense(TensorView.Of(new float[24], 4, 6)), new[] { 4 }, workspace);
        target.Should().Throw<FtcException>().Which.Message.Should().Contain("4");
    }

    [Fact]
    public void AProcessHasOneLibrary()
    {
        Action open = () => Device.OpenCuda();
        open.Should().Throw<InvalidOperationException>().Which.Message.Should().Contain("a process has one native library");
    }

    private static void Throws(Action call, string message) => call.Should().Throw<ArgumentException>().Which.Message.Should().StartWith(message);
}
