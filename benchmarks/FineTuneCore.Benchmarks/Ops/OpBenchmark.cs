using BenchmarkDotNet.Attributes;
using FineTuneCore.Backends;
using FineTuneCore.Benchmarks.Measuring;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>The unit of an op's rate: arithmetic or memory decides about its time.</summary>
public enum RateUnit
{
    /// <summary>Multiplications and additions.</summary>
    Gigaflops,

    /// <summary>Useful bytes read and written.</summary>
    Gigabytes,
}

/// <summary>
/// One op of one backend: operands of a real model's shape, a check of the result against its formula before anything is timed, and the work of a call.
/// Another backend, or a baseline of another library, is another [Benchmark] method of the op's class.
/// </summary>
public abstract class OpBenchmark
{
    private NativeBackend? _backend;
    private Operands? _operands;

    internal NativeBackend Backend => _backend!;

    internal Operands Operands => _operands!;

    /// <summary>What the rate counts.</summary>
    public virtual RateUnit Unit => RateUnit.Gigaflops;

    /// <summary>10⁹ operations or bytes of one call of a benchmark method; asked without a setup.</summary>
    public abstract double Work(string method);

    [GlobalSetup]
    public void Open()
    {
        _backend = Output.Open(threads: 1);
        _operands = new Operands(_backend);
        Prepare();
        Check();
    }

    [GlobalCleanup]
    public void Close()
    {
        _operands?.Dispose();
        _backend?.Dispose();
    }

    /// <summary>Makes the operands.</summary>
    protected abstract void Prepare();

    /// <summary>Computes once and compares with the formula.</summary>
    protected abstract void Check();

    /// <summary>A result within a tolerance of its formula, relative to 1 or to the expected value if that is larger.</summary>
    protected static void Near(string what, double actual, double expected, double tolerance = 1e-4)
    {
        if (!(Math.Abs(actual - expected) <= tolerance * Math.Max(1, Math.Abs(expected))))
            throw new InvalidOperationException($"{what} is {actual}, expected {expected} within {tolerance:G1}");
    }
}
