using BenchmarkDotNet.Attributes;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>An op with its two directions, each a row.</summary>
public abstract class ForwardBackwardKernel : KernelBenchmark
{
    [Benchmark]
    public void Forward() => RunForward();

    /// <summary>Of the last <see cref="Forward"/>, where it needs one.</summary>
    [Benchmark]
    public void Backward() => RunBackward();

    protected abstract void RunForward();

    /// <summary>Adds to gradients of weights and adapters, writes the others.</summary>
    protected abstract void RunBackward();

    /// <summary>A result of either direction as it stands.</summary>
    protected abstract float[] Result(string name);
}
