using BenchmarkDotNet.Attributes;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>
/// One op of one library: numbers that are the same on every side, a check of the result against its formula before anything is timed, and the work of a
/// call. The sides derive from the op's class and are named like it: <c>LoraLinearOp</c>.
/// </summary>
public abstract class KernelBenchmark
{
    private readonly Stack<IDisposable> _owned = [];

    [ParamsSource(nameof(Cases))]
    public KernelCase Case { get; set; } = null!;

    public IEnumerable<KernelCase> Cases => KernelCase.All.Where(c => c.Op == Op);

    public string Op => KernelRunner.NameOf(GetType());

    /// <summary>Which table and plot the op belongs to.</summary>
    public abstract KernelFamily Family { get; }

    /// <summary>Whether products are of bf16, whose peak is another.</summary>
    public virtual bool IsBf16 => false;

    /// <summary>10⁹ operations, or useful bytes, of one call; asked without a setup.</summary>
    public abstract double Work(string method);

    [GlobalSetup]
    public void Open()
    {
        try
        {
            Prepare();
            if (KernelRunner.IsProved(Case))
            {
                Ready();
            }
            else
            {
                Check();
                KernelRunner.Proved(Case);
            }
        }
        catch (Exception e)
        {
            KernelRunner.Note(e);
            throw;
        }

        KernelRunner.TimingBegins();
    }

    [GlobalCleanup]
    public void Close()
    {
        KernelRunner.TimingEnded();
        while (_owned.TryPop(out IDisposable? last)) last.Dispose();
    }

    /// <summary>Makes the operands.</summary>
    protected abstract void Prepare();

    /// <summary>Computes once and compares with the formula.</summary>
    protected abstract void Check();

    /// <summary>Computes what another method needs; the result is proved already.</summary>
    protected virtual void Ready()
    {
    }

    /// <summary>Disposes it when the case is done.</summary>
    protected T Own<T>(T thing)
        where T : IDisposable
    {
        _owned.Push(thing);
        return thing;
    }

    protected int Size(int index) => Case.Sizes[index];

    /// <summary>Numbers in ±bound, the same on every side.</summary>
    protected static float[] Uniform(ulong stream, long count, float bound = 1) => LoraStep.Uniform(stream, checked((int)count), bound);

    /// <summary>A result within a tolerance of its formula, relative to 1 or to the expected value if that is larger.</summary>
    /// <exception cref="WrongResultException">It is not.</exception>
    protected static void Near(string what, double actual, double expected, double tolerance = 1e-4)
    {
        if (!(Math.Abs(actual - expected) <= tolerance * Math.Max(1, Math.Abs(expected))))
            throw new WrongResultException($"{what} is {actual}, expected {expected} within {tolerance:G1}");
    }

    /// <summary>The same for numbers of a matrix spread over it, its corners among them.</summary>
    protected static void Near(string what, float[] actual, int rows, int columns, Func<int, int, double> expected, double tolerance = 1e-4, int samples = 8)
    {
        if (actual.LongLength != (long)rows * columns) throw new WrongResultException($"{what} has {actual.Length} numbers, expected {rows} x {columns}");
        for (int i = 0; i < samples; i++)
        {
            // Rows go up while columns go down and up again, so that no tile is met twice before another is.
            int row = (int)((long)i * (rows - 1) / (samples - 1)), column = (int)((long)(i * 5 % samples) * (columns - 1) / (samples - 1));
            Near($"{what}[{row}, {column}]", actual[(long)row * columns + column], expected(row, column), tolerance);
        }
    }
}

/// <summary>A result is not what its formula says; the message says which.</summary>
public sealed class WrongResultException(string message) : Exception(message);
