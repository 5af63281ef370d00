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
/// Prints what the OpenCL device reaches: products in every kind of weight and one training step of a tiny Llama, medians. Formats take turns, so that
/// a busy machine slows all of them. Run with <c>-explicit only</c>.
/// </summary>
public sealed class SpeedTests(ITestOutputHelper output)
{
    private const int Rounds = 15, WarmUp = 3; // the first compile
    private static readonly string[] Formats = [QuantReference.F32, QuantReference.Bf16, QuantReference.Nf4, QuantReference.Nf4Nested];

    [Theory(Explicit = true)]
    [InlineData(512, 512)]
    [InlineData(1024, 1024)]
    [InlineData(1, 1024)]
    [InlineData(4, 1024)]
    [InlineData(16, 1024)]
    public void Products(int rows, int size)
    {
        IBackend backend = TestDevice.OpenCl.Required();
        using var memory = new Memory(backend);
        Tensor x = memory.Matrix(Numbers.Random(1, rows * size), rows, size), y = memory.Output(rows, size);
        WeightMatrix[] weights = [.. Formats.Select(f => QuantReference.Weight(memory, f, size, size, out _))];
        Turn[] turns = Measure(backend, [.. weights.Select(w => (Action)(() => backend.LinearForward(y, x, w, default, [], default, accumulate: false, default)))]);
        double operations = 2.0 * rows * size * size;
        for (int i = 0; i < turns.Length; i++)
        {
            // Each round's ratio is of neighbours in time.
            double ratio = Median(turns[0].Cpu.Zip(turns[i].Cpu, (f32, own) => f32 / own));
            output.WriteLine(
                $"{Formats[i]} [{rows}, {size}] x [{size}, {size}]: {Median(turns[i].Wall) * 1e3:F2} ms, {operations / Median(turns[i].Wall) / 1e9:F1} GFLOP/s; " +
                $"{operations / Median(turns[i].Cpu) / 1e9:F1} GFLOP per second of processor time, {ratio:F2} of f32's");
        }
    }

    [Fact(Explicit = true)]
    public void Step()
    {
        IBackend backend = TestDevice.OpenCl.Required();
        using var model = new TrainedModel(backend, BaseFormat.AsStored, checkpointing: false, rows: 128);
        Turn step = Measure(backend, [() => model.Step()])[0];
        output.WriteLine($"step of stories260K, 128 tokens: {Median(step.Wall) * 1e3:F1} ms; {Median(step.Cpu) * 1e3:F1} ms of processor time");
    }

    private static Turn[] Measure(IBackend backend, Action[] works)
    {
        Turn[] turns = [.. works.Select(_ => new Turn([], []))];
        for (int round = 0; round < Rounds + WarmUp; round++)
        {
            for (int i = 0; i < works.Length; i++)
            {
                TimeSpan before = Process.GetCurrentProcess().TotalProcessorTime;
                long begin = Stopwatch.GetTimestamp();
                works[i]();
                backend.Synchronize();
                double wall = Stopwatch.GetElapsedTime(begin).TotalSeconds;
                if (round < WarmUp) continue;
                turns[i].Wall.Add(wall);
                turns[i].Cpu.Add((Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds);
            }
        }

        return turns;
    }

    private static double Median(IEnumerable<double> values) => values.Order().ElementAt(Rounds / 2);

    /// <summary>Seconds of every round.</summary>
    private sealed record Turn(List<double> Wall, List<double> Cpu);
}
