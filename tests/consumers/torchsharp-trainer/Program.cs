using System.Diagnostics;
using System.Runtime.InteropServices;
using FineTuneCore.Benchmarks.TorchPeer;
using FineTuneCore.Kernels;
using TorchSharp;
using TorchSharpTrainer;
using static TorchSharp.torch;

const int Steps = 20, Skipped = 77;
if (LibraryLoading.Load() is { } reason)
{
    Console.WriteLine($"skipped: TorchSharp does not load ({reason})");
    return Skipped;
}

set_num_threads(1);
using var kernels = new Kernels(threads: 1);

// The same numbers for both: one generator for the model, one for the batches.
using Generator numbers = new(seed: 1), batches = new(seed: 2);
Tensor embedding = randn(Decoder.VocabSize, Decoder.HiddenSize, generator: numbers);
var shapes = new List<(Tensor Codes, Tensor Absmax, Tensor A, Tensor B)>();
var ours = new Decoder(embedding, (rows, columns) =>
{
    Tensor weight = randn(rows, columns, generator: numbers).mul_(1 / Math.Sqrt(columns));
    Tensor codes = zeros(rows * columns / 2, ScalarType.Byte), absmax = zeros(rows * columns / Nf4Tables.BlockSize);
    Nf4.Quantize(kernels.Stream, codes.bytes, MemoryMarshal.Cast<byte, float>(absmax.bytes), MemoryMarshal.Cast<byte, float>(weight.bytes));
    Tensor a = (rand(LoraLinear.Rank, columns, generator: numbers) * 2 - 1) / Math.Sqrt(columns);
    shapes.Add((codes, absmax, a, zeros(rows, LoraLinear.Rank)));
    return new NormalFloatLinear(kernels, codes, absmax, a, shapes[^1].B);
});
int next = 0;
var theirs = new Decoder(embedding, (rows, columns) =>
{
    (Tensor codes, Tensor absmax, Tensor a, Tensor b) = shapes[next++];
    return new PlainLinear(Dequantised(codes, absmax).view(rows, columns), a, b);
});
Tensor[] ids = [.. Enumerable.Range(0, 4).Select(_ => randint(0, Decoder.VocabSize, [Decoder.Batch * Decoder.Sequence], generator: batches).to(ScalarType.Int64))];

double[] ourLosses = new double[Steps], theirLosses = new double[Steps], ourTimes = new double[Steps], theirTimes = new double[Steps];
var ourOptimizer = optim.AdamW(ours.parameters(), lr: 1e-3);
var theirOptimizer = optim.AdamW(theirs.parameters(), lr: 1e-3);
for (int step = 0; step < Steps; step++) // in turn, so that what else this machine does hits both
{
    (ourLosses[step], ourTimes[step]) = Train(ours, ourOptimizer, ids[step % ids.Length]);
    (theirLosses[step], theirTimes[step]) = Train(theirs, theirOptimizer, ids[step % ids.Length]);
}

(double ourTime, double theirTime) = (Median(ourTimes), Median(theirTimes));
double difference = ourLosses.Zip(theirLosses, (a, b) => Math.Abs(a - b)).Max();
double memory = (double)ours.FrozenBytes / theirs.FrozenBytes;
Console.WriteLine($"losses           {ourLosses[0]:F4} -> {ourLosses[^1]:F4} in {Steps} steps; TorchSharp's differ by at most {difference:E1} (1e-4 allowed)");
Console.WriteLine($"frozen weights   {ours.FrozenBytes / 1e6:F1} MB; TorchSharp's {theirs.FrozenBytes / 1e6:F1} MB: {memory:F2} of it (0.3 allowed)");
Console.WriteLine($"step, 1 thread   {ourTime:F1} ms; TorchSharp's {theirTime:F1} ms: {ourTime / theirTime:F2} of it (median of {Steps - 2} steps)");
return ourLosses[^1] < ourLosses[0] - 0.1 && difference <= 1e-4 && memory <= 0.3 ? 0 : 1;

static (double Loss, double Milliseconds) Train(Decoder model, optim.Optimizer optimizer, Tensor batch)
{
    long start = Stopwatch.GetTimestamp();
    using DisposeScope scope = NewDisposeScope();
    optimizer.zero_grad();
    Tensor loss = model.call(batch, batch.roll(-1));
    double value = loss.item<float>();
    loss.backward();
    optimizer.step();
    return (value, Stopwatch.GetElapsedTime(start).TotalMilliseconds);
}

static double Median(double[] times) => times.Skip(2).Order().ElementAt((times.Length - 2) / 2); // the first two steps warm up

// In TorchSharp's own words, so that a fault of our dequantising cannot hide.
static Tensor Dequantised(Tensor codes, Tensor absmax)
{
    Tensor map = tensor(Nf4Tables.QuantMap.ToArray());
    Tensor bytes = codes.to(ScalarType.Int32);
    Tensor indices = stack([bytes.div(16, RoundingMode.floor), bytes.remainder(16)], 1).view(-1).to(ScalarType.Int64);
    return (map.index_select(0, indices).view(-1, Nf4Tables.BlockSize) * absmax.unsqueeze(1)).view(-1);
}
