using FineTuneCore.Kernels;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Native.Tests.Kernels;

/// <summary>The examples of the package's page, run and held against plain loops in double. <see cref="PageTests"/> holds the page against them.</summary>
public sealed class ExampleTests : IDisposable
{
    private readonly Device device = Device.OpenCpu(threads: 1);
    private readonly DeviceStream stream;
    private readonly Workspace workspace;

    public ExampleTests()
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
    public void OpeningADevice()
    {
        using Device device = Device.OpenCpu();                 // or Device.OpenCuda(), with the package FineTuneCore.Runtime.Cuda
        using DeviceStream stream = device.CreateStream();
        using var workspace = new Workspace(stream);            // scratch memory of the ops that need some

        (device.Kind, device.ReadsHostMemory, device.Threads > 0).Should().Be(("cpu", true, true));
        workspace.SizeBytes.Should().Be(0);
    }

    [Fact]
    public unsafe void MemoryOfAllKinds()
    {
        float[] weight = [1, 2, 1, 2];
        Memory<float> x = new float[] { 1, -1, 1, -1, 3, 3, 3, 3 };

        using DeviceBuffer buffer = device.Allocate(8 * sizeof(float));
        TensorView y = buffer.View(DType.F32, rows: 2, columns: 4);                    // memory of the device
        TensorView rows = TensorView.Of(x.Span, rows: 2, columns: 4);                  // a span, an array or Memory<T>, on the CPU
        RmsNorm.Forward(stream, y, rows, weight, eps: 0);

        fixed (float* address = x.Span)
        {
            TensorView same = TensorView.At((nint)address, DType.F32, rows: 2, columns: 4); // an address: another library's tensor
            RmsNorm.Forward(stream, same, same, weight, eps: 0);                            // in place
        }

        var result = new float[8];
        stream.Download(result.AsSpan(), y);                                           // waits for the ops before it

        result.Should().Equal(1, -2, 1, -2, 1, 2, 1, 2);
        x.ToArray().Should().Equal(result);
        using DeviceBuffer borrowed = device.Borrow(buffer.Address, buffer.SizeBytes);
        stream.Upload(borrowed.View(DType.F32, 1, 8), new ReadOnlySpan<float>(new float[8]));
        stream.Download(result.AsSpan(), y);
        result.Should().OnlyContain(v => v == 0, "both are the same memory");
    }

    [Fact]
    public void NormalFloat()
    {
        const int Rows = 3, Columns = 70; // blocks straddle rows
        float[] weight = Loops.Random(Rows * Columns, 1);

        byte[] codes = new byte[(weight.Length + 1) / 2];
        float[] absmax = new float[(weight.Length + 63) / 64];
        Nf4.Quantize(stream, codes, absmax, weight);

        float[] back = new float[weight.Length];
        Linear.Dequantize(stream, TensorView.Of(back, Rows, Columns), LinearWeight.Nf4(codes, absmax, Rows, Columns));

        for (int i = 0; i < weight.Length; i++)
        {
            float scale = weight.Skip(i / 64 * 64).Take(64).Max(Math.Abs);
            absmax[i / 64].Should().Be(scale);
            float nearest = Nf4Tables.QuantMap.ToArray().MinBy(q => Math.Abs(q - weight[i] / scale));
            back[i].Should().Be(nearest * scale);
        }
    }

    [Fact]
    public void DoubleQuantisation()
    {
        float[] absmax = Loops.Random(300, 2).Select(v => 2 + v).ToArray();

        byte[] codes = new byte[absmax.Length];
        float[] nestedAbsmax = new float[(absmax.Length + 255) / 256];
        float[] nestedOffset = new float[1];
        Nf4.QuantizeAbsmax(stream, codes, nestedAbsmax, nestedOffset, absmax);

        nestedOffset[0].Should().BeApproximately(absmax.Average(), 1e-5f);
        for (int i = 0; i < absmax.Length; i++)
            (Nf4Tables.NestedMap[codes[i]] * nestedAbsmax[i / 256] + nestedOffset[0]).Should().BeApproximately(absmax[i], 0.01f);
    }

    [Fact]
    public void LoraOverNormalFloat()
    {
        const int M = 5, N = 6, K = 64, Rank = 2;
        const float Scaling = 2;
        float[] x = Loops.Random(M * K, 1), weight = Loops.Random(N * K, 2), a = Loops.Random(Rank * K, 3), b = Loops.Random(N * Rank, 4), dy = Loops.Random(M * N, 5);
        byte[] codes = new byte[N * K / 2];
        float[] absmax = new float[N * K / 64];
        Nf4.Quantize(stream, codes, absmax, weight);
        float[] y = new float[M * N], s = new float[M * Rank], dx = new float[M * K], da = new float[Rank * K], db = new float[N * Rank];

        var adapter = new LoraAdapter
        {
            A = TensorView.Of(a, Rank, K), B = TensorView.Of(b, N, Rank), S = TensorView.Of(s, M, Rank), Scaling = Scaling,
            Da = TensorView.Of(da, Rank, K), Db = TensorView.Of(db, N, Rank), // added to
        };
        LinearWeight frozen = LinearWeight.Nf4(codes, absmax, N, K);
        Linear.Forward(stream, TensorView.Of(y, M, N), TensorView.Of(x, M, K), frozen, workspace, adapter);
        Linear.Backward(stream, TensorView.Of(dx, M, K), TensorView.Of(dy, M, N), TensorView.Of(x, M, K), frozen, workspace, adapter);

        float[] dense = new float[N * K];
        Linear.Dequantize(stream, TensorView.Of(dense, N, K), frozen);
        (double[] X, double[] W, double[] A, double[] B, double[] Dy) = (Loops.Doubles(x), Loops.Doubles(dense), Loops.Doubles(a), Loops.Doubles(b), Loops.Doubles(dy));
        double[] S = Loops.TimesTransposed(X, A, M, Rank, K);
        Near(s, S);
        Near(y, Loops.Sum(Loops.TimesTransposed(X, W, M, N, K), Loops.TimesTransposed(S, B, M, N, Rank), Scaling));
        double[] dS = [.. Loops.TimesTransposed(Dy, Loops.Transposed(B, N, Rank), M, Rank, N).Select(v => Scaling * v)];
        Near(dx, Loops.Sum(Loops.TimesTransposed(Dy, Loops.Transposed(W, N, K), M, K, N), Loops.TimesTransposed(dS, Loops.Transposed(A, Rank, K), M, K, Rank)));
        Near(da, Loops.TimesTransposed(Loops.Transposed(dS, M, Rank), Loops.Transposed(X, M, K), Rank, K, M));
        Near(db, [.. Loops.TimesTransposed(Loops.Transposed(Dy, M, N), Loops.Transposed(S, M, Rank), N, Rank, M).Select(v => Scaling * v)]);
    }

    [Fact]
    public void QaLoraOverAffineGroups()
    {
        const int M = 3, N = 4, K = 64, Bits = 4, GroupSize = 32, Rank = 2, Groups = K / GroupSize;
        const float Scaling = 0.5f;
        float[] x = Loops.Random(M * K, 1), weight = Loops.Random(N * K, 2), a = Loops.Random(Rank * Groups, 3), b = Loops.Random(N * Rank, 4), dy = Loops.Random(M * N, 5);
        float[] y = new float[M * N], s = new float[M * Rank], dx = new float[M * K], da = new float[Rank * Groups], db = new float[N * Rank], merged = new float[M * N];

        byte[] codes = new byte[N * K * Bits / 8];
        float[] scale = new float[N * Groups], minimum = new float[N * Groups];
        AffineGroups.Quantize(stream, codes, scale, minimum, TensorView.Of(weight, N, K), Bits, GroupSize);

        LinearWeight frozen = LinearWeight.Affine(codes, scale, minimum, N, K, Bits, GroupSize);
        var adapter = new LoraAdapter
        {
            A = TensorView.Of(a, Rank, Groups), B = TensorView.Of(b, N, Rank), S = TensorView.Of(s, M, Rank), Scaling = Scaling, Pool = GroupSize,
            Da = TensorView.Of(da, Rank, Groups), Db = TensorView.Of(db, N, Rank),
        };
        Linear.Forward(stream, TensorView.Of(y, M, N), TensorView.Of(x, M, K), frozen, workspace, adapter);
        Linear.Backward(stream, TensorView.Of(dx, M, K), TensorView.Of(dy, M, N), TensorView.Of(x, M, K), frozen, workspace, adapter);

        AffineGroups.Merge(stream, minimum, adapter.B, adapter.A, GroupSize, Scaling); // codes and scales stay: still 4 bits, without an adapter
        Linear.Forward(stream, TensorView.Of(merged, M, N), TensorView.Of(x, M, K), frozen, workspace);

        double[] P = Loops.Pooled(Loops.Doubles(x), GroupSize), S = Loops.TimesTransposed(P, Loops.Doubles(a), M, Rank, Groups);
        Near(s, S);
        double[] dS = [.. Loops.TimesTransposed(Loops.Doubles(dy), Loops.Transposed(Loops.Doubles(b), N, Rank), M, Rank, N).Select(v => Scaling * v)];
        Near(da, Loops.TimesTransposed(Loops.Transposed(dS, M, Rank), Loops.Transposed(P, M, Groups), Rank, Groups, M));
        Near(db, [.. Loops.TimesTransposed(Loops.Transposed(Loops.Doubles(dy), M, N), Loops.Transposed(S, M, Rank), N, Rank, M).Select(v => Scaling * v)]);
        Near(merged, Loops.Doubles(y));
        float[] dense = new float[N * K];
        Linear.Dequantize(stream, TensorView.Of(dense, N, K), frozen); // merged, so it holds the adapter's part of dX too
        Near(dx, Loops.TimesTransposed(Loops.Doubles(dy), Loops.Transposed(Loops.Doubles(dense), N, K), M, K, N));
        for (int i = 0; i < weight.Length; i++)
            Math.Abs(dense[i] - weight[i] - Scaling / GroupSize * Enumerable.Range(0, Rank).Sum(r => b[i / K * Rank + r] * a[r * Groups + i % K / GroupSize]))
                .Should().BeLessThan(0.51f * scale[i / GroupSize], "a code is the nearest one");
    }

    [Fact]
    public void PackedAttention()
    {
        const int Tokens = 6, Heads = 2, KeyValueHeads = 1, HeadDim = 4, Width = Heads * HeadDim;
        float[] q = Loops.Random(Tokens * Width, 1), kv = Loops.Random(Tokens * 2 * HeadDim, 2), dout = Loops.Random(Tokens * Width, 3);
        float[] o = new float[Tokens * Width], lse = new float[Tokens * Heads], dq = new float[q.Length], dkv = new float[kv.Length];

        var shape = new AttentionShape(Heads, KeyValueHeads, HeadDim, Scale: 1 / MathF.Sqrt(HeadDim));
        int[] keyBegin = [0, 0, 0, 3, 3, 3]; // two documents of three tokens
        TensorView both = TensorView.Of(kv, Tokens, 2 * HeadDim), dboth = TensorView.Of(dkv, Tokens, 2 * HeadDim); // k|v side by side
        TensorView k = both.ColumnRange(0, HeadDim), v = both.ColumnRange(HeadDim, HeadDim);
        Attention.Forward(stream, TensorView.Of(o, Tokens, Width), TensorView.Of(q, Tokens, Width), k, v, shape, workspace, lse, keyBegin);
        Attention.Backward(
            stream, TensorView.Of(dq, Tokens, Width), dboth.ColumnRange(0, HeadDim), dboth.ColumnRange(HeadDim, HeadDim), TensorView.Of(dout, Tokens, Width),
            TensorView.Of(q, Tokens, Width), k, v, TensorView.Of(o, Tokens, Width), lse, shape, workspace, keyBegin);

        double[] Attend(float[] queries, float[] keys)
        {
            var result = new double[Tokens * Width];
            for (int i = 0; i < Tokens; i++)
            for (int h = 0; h < Heads; h++)
            {
                double Score(int j) => Enumerable.Range(0, HeadDim).Sum(d => (double)queries[i * Width + h * HeadDim + d] * keys[j * 2 * HeadDim + d]) * shape.Scale;
                double sum = Enumerable.Range(keyBegin[i], i - keyBegin[i] + 1).Sum(j => Math.Exp(Score(j)));
                for (int d = 0; d < HeadDim; d++)
                    result[i * Width + h * HeadDim + d] = Enumerable.Range(keyBegin[i], i - keyBegin[i] + 1).Sum(j => Math.Exp(Score(j)) / sum * keys[j * 2 * HeadDim + HeadDim + d]);
            }

            return result;
        }

        Near(o, Attend(q, kv));
        NearDifferences(q, dq, values => Attend(values, kv), dout);
        NearDifferences(kv, dkv, values => Attend(q, values), dout);
    }

    [Fact]
    public void Normalisation()
    {
        const int Rows = 3, HiddenSize = 5;
        const float Eps = 1e-5f;
        float[] x = Loops.Random(Rows * HiddenSize, 1), weight = Loops.Random(HiddenSize, 2), dy = Loops.Random(x.Length, 3);
        float[] y = new float[x.Length], dx = new float[x.Length], rstd = new float[Rows], dweight = new float[HiddenSize];

        RmsNorm.Forward(stream, TensorView.Of(y, Rows, HiddenSize), TensorView.Of(x, Rows, HiddenSize), weight, Eps, rstd);
        RmsNorm.Backward(stream, TensorView.Of(dx, Rows, HiddenSize), TensorView.Of(dy, Rows, HiddenSize), TensorView.Of(x, Rows, HiddenSize), rstd, weight, Eps, dweight);

        double[] Norm(float[] values, float[] weights) =>
            [.. values.Select((v, i) => v * weights[i % HiddenSize] / Math.Sqrt(values.Skip(i / HiddenSize * HiddenSize).Take(HiddenSize).Average(t => (double)t * t) + Eps))];
        Near(y, Norm(x, weight));
        NearDifferences(x, dx, values => Norm(values, weight), dy);
        NearDifferences(weight, dweight, values => Norm(x, values), dy);
    }

    [Fact]
    public void RotaryPositions()
    {
        const int Rows = 3, HeadDim = 4, Positions = 8;
        float[] x = Loops.Random(Rows * HeadDim, 1), before = [.. x];

        float[] cos = new float[Positions * HeadDim / 2], sin = new float[Positions * HeadDim / 2];
        for (int i = 0; i < cos.Length; i++)
            (sin[i], cos[i]) = MathF.SinCos(i / (HeadDim / 2) * MathF.Pow(10000, -2f * (i % (HeadDim / 2)) / HeadDim));
        TensorView cosines = TensorView.Of(cos, Positions, HeadDim / 2), sines = TensorView.Of(sin, Positions, HeadDim / 2);
        int[] positions = [0, 1, 5];
        Rope.Forward(stream, TensorView.Of(x, Rows, HeadDim), positions, cosines, sines, HeadDim);  // in place
        Rope.Backward(stream, TensorView.Of(x, Rows, HeadDim), positions, cosines, sines, HeadDim); // turns back

        Near(x, Loops.Doubles(before));
        Rope.Forward(stream, TensorView.Of(x, Rows, HeadDim), positions, cosines, sines, HeadDim);
        var turned = new double[x.Length];
        for (int i = 0; i < Rows; i++)
        for (int h = 0; h < HeadDim / 2; h++)
        {
            double angle = positions[i] * Math.Pow(10000, -2.0 * h / HeadDim);
            (double first, double second) = (before[i * HeadDim + h], before[i * HeadDim + h + HeadDim / 2]);
            turned[i * HeadDim + h] = first * Math.Cos(angle) - second * Math.Sin(angle);
            turned[i * HeadDim + h + HeadDim / 2] = second * Math.Cos(angle) + first * Math.Sin(angle);
        }

        Near(x, turned);
    }

    [Fact]
    public void GatedUnits()
    {
        const int Rows = 2, Columns = 5;
        float[] both = Loops.Random(Rows * 2 * Columns, 1), dy = Loops.Random(Rows * Columns, 2), y = new float[Rows * Columns], dboth = new float[both.Length];

        TensorView gateUp = TensorView.Of(both, Rows, 2 * Columns), dgateUp = TensorView.Of(dboth, Rows, 2 * Columns); // gate|up side by side
        TensorView gate = gateUp.ColumnRange(0, Columns), up = gateUp.ColumnRange(Columns, Columns);
        Swiglu.Forward(stream, TensorView.Of(y, Rows, Columns), gate, up);
        Swiglu.Backward(stream, dgateUp.ColumnRange(0, Columns), dgateUp.ColumnRange(Columns, Columns), TensorView.Of(dy, Rows, Columns), gate, up);

        double[] Unit(float[] values) =>
            [.. Enumerable.Range(0, Rows * Columns).Select(i => (i / Columns * 2 * Columns) + i % Columns).Select(i => values[i] / (1 + Math.Exp(-values[i])) * values[i + Columns])];
        Near(y, Unit(both));
        NearDifferences(both, dboth, Unit, dy);
    }

    [Fact]
    public void HeadAndLoss()
    {
        const int Rows = 3, HiddenSize = 4, VocabSize = 7;
        float[] x = Loops.Random(Rows * HiddenSize, 1), head = Loops.Random(VocabSize * HiddenSize, 2), nll = new float[Rows], dx = new float[x.Length];

        int[] targets = [5, LinearCrossEntropy.IgnoreIndex, 0], predictions = new int[Rows];
        LinearCrossEntropy.Compute(
            stream, nll, TensorView.Of(x, Rows, HiddenSize), LinearWeight.Dense(TensorView.Of(head, VocabSize, HiddenSize)), targets, workspace,
            dx: TensorView.Of(dx, Rows, HiddenSize), gradientScale: 1 / 2f, predictions: predictions);
        float loss = nll.Sum() / 2; // two of the three rows are trained

        double[] Losses(float[] values)
        {
            double[] logits = Loops.TimesTransposed(Loops.Doubles(values), Loops.Doubles(head), Rows, VocabSize, HiddenSize);
            return [.. targets.Select((t, i) => t < 0 ? 0 : Math.Log(logits.Skip(i * VocabSize).Take(VocabSize).Sum(Math.Exp)) - logits[i * VocabSize + t])];
        }

        Near(nll, Losses(x));
        loss.Should().BeApproximately((float)(Losses(x).Sum() / 2), 1e-5f);
        NearDifferences(x, dx, Losses, [0.5f, 0.5f, 0.5f]);
        predictions[1].Should().Be(-1);
        float[] first = [.. Enumerable.Range(0, VocabSize).Select(n => Enumerable.Range(0, HiddenSize).Sum(k => x[k] * head[n * HiddenSize + k]))];
        predictions[0].Should().Be(Array.IndexOf(first, first.Max()));
    }

    [Fact]
    public void Updates()
    {
        float[] parameter = Loops.Random(9, 1), gradient = Loops.Random(9, 2), before = [.. parameter];

        float[] m = new float[parameter.Length], v = new float[parameter.Length]; // zeroed before the first step
        AdamW.Step(stream, parameter, m, v, gradient, new AdamWOptions { LearningRate = 0.01f, WeightDecay = 0.1f }, step: 1);

        for (int i = 0; i < parameter.Length; i++) // the first step goes by the learning rate, against the gradient's sign
            ((double)parameter[i]).Should().BeApproximately(before[i] * (1 - 0.001) - 0.01 * Math.Sign(gradient[i]), 1e-6);
    }

    private static void Near(float[] actual, double[] expected)
    {
        actual.Length.Should().Be(expected.Length);
        double largest = expected.Max(Math.Abs);
        for (int i = 0; i < actual.Length; i++) ((double)actual[i]).Should().BeApproximately(expected[i], 3e-6 * largest, "element {0}", i);
    }

    /// <summary>Holds a gradient against central differences of Σ f(x) · dy.</summary>
    private static void NearDifferences(float[] x, float[] dx, Func<float[], double[]> f, float[] dy)
    {
        const float Step = 1f / 256; // exact in float
        for (int i = 0; i < x.Length; i++)
        {
            float[] up = [.. x], down = [.. x];
            up[i] += Step;
            down[i] -= Step;
            double difference = f(up).Zip(f(down), (a, b) => a - b).Zip(dy, (d, g) => d * g).Sum() / ((double)up[i] - down[i]);
            ((double)dx[i]).Should().BeApproximately(difference, 1e-4, "element {0}", i);
        }
    }
}
