using System.Diagnostics;
using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Conformance.Tests.References;
using FineTuneCore.Conformance.Tests.Training;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Speed;

/// <summary>
/// Prints what the OpenCL device reaches: products and one training step of a tiny Llama, medians. Run on a quiet machine with
/// <c>-explicit only</c>.
/// </summary>
public sealed class SpeedTests(ITestOutputHelper output)
{
    private const int Repetitions = 15;

    [Theory(Explicit = true)]
    [InlineData(QuantReference.F32, 512)]
    [InlineData(QuantReference.F32, 1024)]
    [InlineData(QuantReference.Nf4, 512)]
    [InlineData(QuantReference.Nf4, 1024)]
    public void Products(string format, int size)
    {
        IBackend backend = TestDevice.OpenCl.Required();
        using var memory = new Memory(backend);
        WeightMatrix weight = QuantReference.Weight(memory, format, size, size, out _);
        Tensor x = memory.Matrix(Numbers.Random(1, size * size), size, size), y = memory.Output(size, size);
        (double wall, double cpu) = Median(backend, () => backend.LinearForward(y, x, weight, default, [], default, accumulate: false, default));
        double operations = 2.0 * size * size * size;
        output.WriteLine($"{format} {size}^3: {wall * 1e3:F1} ms, {operations / wall / 1e9:F1} GFLOP/s; {operations / cpu / 1e9:F1} GFLOP per second of processor time");
    }

    [Fact(Explicit = true)]
    public void Step()
    {
        IBackend backend = TestDevice.OpenCl.Required();
        using var model = new TrainedModel(backend, BaseFormat.AsStored, checkpointing: false, rows: 128);
        (double wall, double cpu) = Median(backend, () => model.Step());
        output.WriteLine($"step of stories260K, 128 tokens: {wall * 1e3:F1} ms; {cpu * 1e3:F1} ms of processor time");
    }

    private static (double Wall, double Cpu) Median(IBackend backend, Action work)
    {
        var wall = new List<double>();
        var cpu = new List<double>();
        for (int i = 0; i < Repetitions + 3; i++)
        {
            TimeSpan before = Process.GetCurrentProcess().TotalProcessorTime;
            long begin = Stopwatch.GetTimestamp();
            work();
            backend.Synchronize();
            if (i < 3) continue; // compiles
            wall.Add(Stopwatch.GetElapsedTime(begin).TotalSeconds);
            cpu.Add((Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds);
        }

        wall.Sort();
        cpu.Sort();
        return (wall[Repetitions / 2], cpu[Repetitions / 2]);
    }
}
