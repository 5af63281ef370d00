using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using FineTuneCore.Kernels;
using FineTuneCore.Native;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>
/// What a call costs from .NET over the same call from C++ (<c>native/call_bench.cpp</c>): SwiGLU of one element, by the import alone and by the public layer
/// with its checks. Processor time of the thread, median of 101 rounds, in turn with the native program.
/// </summary>
internal static unsafe class BindingCommand
{
    private const int Rounds = 101, Calls = 20_000, Turns = 3;
    private const double Allowed = 100; // ns

    /// <returns>0 when the import costs at most 100 ns.</returns>
    internal static int Run()
    {
        var native = new List<double>();
        var import = new List<double>();
        var layer = new List<double>();
        using Device device = Device.OpenCpu(threads: 1);
        using DeviceStream stream = device.CreateStream();
        using DeviceBuffer memory = device.Allocate(3 * sizeof(float));
        for (int turn = 0; turn < Turns; turn++)
        {
            native.Add(Native());
            import.Add(Nanoseconds(() => Imports(stream.Handle, memory.Address)));
            layer.Add(Nanoseconds(() => Layer(stream, memory)));
        }

        (double ours, double most) = (Statistics.Median(import) - Statistics.Median(native), Statistics.Median(layer) - Statistics.Median(native));
        Console.WriteLine($"SwiGLU of one element, called from C++   {Statistics.Median(native),6:F1} ns");
        Console.WriteLine($"by P/Invoke                              {Statistics.Median(import),6:F1} ns, {ours,5:F1} ns more ({Allowed:F0} ns allowed)");
        Console.WriteLine($"by FineTuneCore.Kernels, checks included {Statistics.Median(layer),6:F1} ns, {most,5:F1} ns more");
        return ours <= Allowed ? 0 : 1;
    }

    private static double Native()
    {
        string program = Path.Combine("native", "build", "release", "ftc_call_bench");
        using Process process = Process.Start(new ProcessStartInfo(program) { RedirectStandardOutput = true })
            ?? throw new ArgumentException($"{program} does not start; build it with ./build.sh native");
        string text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return double.Parse(text, CultureInfo.InvariantCulture);
    }

    private static double Nanoseconds(Action calls)
    {
        var rounds = new List<double>();
        for (int round = 0; round < Rounds + 20; round++)
        {
            double start = Clock.Thread;
            calls();
            if (round >= 20) rounds.Add((Clock.Thread - start) / Calls * 1e9); // the others warm up the compiler
        }

        return Statistics.Median(rounds);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Imports(StreamHandle stream, nint memory)
    {
        var p = new SwigluParams { StructSize = (uint)sizeof(SwigluParams), Rows = 1, Cols = 1, GateRowStride = 1, YRowStride = 1 };
        for (int i = 0; i < Calls; i++) NativeMethods.ftc_swiglu_forward(stream, memory, memory + 4, memory + 8, in p).ThrowIfFailed();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Layer(DeviceStream stream, DeviceBuffer memory)
    {
        TensorView y = memory.View(DType.F32, 1, 1), gate = memory.View(DType.F32, 1, 1, offsetBytes: 4), up = memory.View(DType.F32, 1, 1, offsetBytes: 8);
        for (int i = 0; i < Calls; i++) Swiglu.Forward(stream, y, gate, up);
    }
}
