using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Conformance.Tests.References;
using FineTuneCore.Native;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>The head's product and cross-entropy in chunks.</summary>
public abstract class LossTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    private const float GradientScale = 0.3f;

    [Theory]
    [InlineData(QuantReference.F32, 1, 1, 1, false)]
    [InlineData(QuantReference.F32, 37, 19, 301, false)]
    [InlineData(QuantReference.F32, 130, 64, 67, false)]
    [InlineData(QuantReference.Bf16, 9, 40, 131, false)]
    [InlineData(QuantReference.Nf4Nested, 12, 64, 70, false)]
    [InlineData(QuantReference.Bf16, 33, 48, 97, true)]
    public void LossAndGradientsEqualTheReference(string format, int rows, int hidden, int vocab, bool bf16)
    {
        DType type = TypeOf(bf16);
        float[] x = Numbers.Random(81, rows * hidden, 1f, type);
        WeightMatrix weight = QuantReference.Weight(Memory, format, vocab, hidden, out float[] w);
        int[] targets = [.. Enumerable.Range(0, rows).Select(i => i % 4 == 1 ? -100 : i * 31 % vocab)];
        Reference exact = Reference.Of(x, w, targets, hidden, vocab, v => v, v => v);
        Reference naive = Reference.Of(x, w, targets, hidden, vocab, v => (float)v, WordOf(type));
        int trained = targets.Count(t => t >= 0);

        Tensor xs = Memory.Matrix(x, rows, hidden, type, gap: 3), ts = Memory.Vector(targets, DType.I32);
        Tensor nll = Memory.Output(1, rows), predictions = Memory.Vector(new int[rows], DType.I32), dx = Memory.Output(rows, hidden, type, gap: 2);
        Tensor dweight = Memory.Matrix(new float[vocab * hidden], vocab, hidden, DType.F32, gap: 1);
        Workspace workspace = Memory.Workspace(Backend.LinearCrossEntropyWorkspaceBytes(type, weight.Format, rows, hidden, vocab));
        foreach (int known in (int[])[trained, 0])
        {
            Backend.LinearCrossEntropy(nll, predictions, default, default, xs, weight, ts, known, 0, default, in workspace);
            Backend.Synchronize();
            Accuracy.Check(Memory.Read(nll), exact.Nll, naive.Nll, "nll of an evaluation", FunctionUlps);
            Memory.Read<int>(predictions).Should().Equal(exact.Predictions);
        }

        Backend.LinearCrossEntropy(nll, default, dx, dweight, xs, weight, ts, trained, GradientScale, default, in workspace);
        Backend.Synchronize();
        Accuracy.Check(Memory.Read(nll), exact.Nll, naive.Nll, "nll", FunctionUlps);
        Accuracy.Check(Memory.Read(dx), exact.Dx, naive.Dx, "dx", FunctionUlps, type);
        Accuracy.Check(Memory.Read(dweight), exact.Dweight, naive.Dweight, "dweight", FunctionUlps);
    }

    [Fact]
    public void TheScaleMayStandOnTheDevice()
    {
        const int Rows = 5, Hidden = 16, Vocab = 33;
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.F32, Vocab, Hidden, out _);
        Tensor x = Memory.Matrix(Numbers.Random(82, Rows * Hidden), Rows, Hidden), targets = Memory.Vector([1, 2, -100, 4, 5], DType.I32), nll = Memory.Output(1, Rows);
        Tensor host = Memory.Output(Rows, Hidden), device = Memory.Output(Rows, Hidden), numbers = Memory.Vector([GradientScale, 0, 0, 0]);
        Workspace workspace = Memory.Workspace(Backend.LinearCrossEntropyWorkspaceBytes(DType.F32, WeightFormat.F32, Rows, Hidden, Vocab));
        Backend.LinearCrossEntropy(nll, default, host, default, x, weight, targets, 4, GradientScale, default, in workspace);
        Backend.LinearCrossEntropy(nll, default, device, default, x, weight, targets, 4, 99, numbers, in workspace);
        Memory.Read(device).Should().Equal(Memory.Read(host));
    }

    [Theory]
    [InlineData(33, 3)]
    [InlineData(-7, 3)]
    [InlineData(5, 2)]
    public void AWrongTargetAndTooManyTrainedRowsAreReported(int target, int trainedRows)
    {
        const int Rows = 3, Hidden = 8, Vocab = 33;
        WeightMatrix weight = QuantReference.Weight(Memory, QuantReference.F32, Vocab, Hidden, out _);
        Tensor x = Memory.Output(Rows, Hidden), targets = Memory.Vector([1, target, 2], DType.I32), nll = Memory.Output(1, Rows);
        Workspace workspace = Memory.Workspace(Backend.LinearCrossEntropyWorkspaceBytes(DType.F32, WeightFormat.F32, Rows, Hidden, Vocab));
        Action run = () =>
        {
            Backend.LinearCrossEntropy(nll, default, default, default, x, weight, targets, trainedRows, 0, default, in workspace);
            Backend.Synchronize();
        };
        run.Should().Throw<FtcException>().Which.Status.Should().Be(FtcStatus.InvalidArgument);
    }

    private sealed record Reference(double[] Nll, int[] Predictions, double[] Dx, double[] Dweight)
    {
        internal static Reference Of(float[] x, float[] w, int[] targets, int hidden, int vocab, Func<double, double> round, Func<double, double> word)
        {
            int rows = targets.Length;
            var reference = new Reference(new double[rows], new int[rows], new double[rows * hidden], new double[vocab * hidden]);
            var logits = new double[vocab];
            for (int i = 0; i < rows; i++)
            {
                reference.Predictions[i] = -1;
                if (targets[i] < 0) continue;
                for (int c = 0; c < vocab; c++)
                {
                    logits[c] = 0;
                    for (int h = 0; h < hidden; h++) logits[c] = round(logits[c] + round((double)x[i * hidden + h] * w[c * hidden + h]));
                }

                double maximum = logits.Max(), sum = 0;
                reference.Predictions[i] = Array.IndexOf(logits, maximum);
                for (int c = 0; c < vocab; c++) sum = round(sum + round(Math.Exp(round(logits[c] - maximum))));
                reference.Nll[i] = round(round(Math.Log(sum)) + round(maximum - logits[targets[i]]));
                for (int c = 0; c < vocab; c++)
                {
                    double p = round(round(Math.Exp(round(logits[c] - maximum))) / sum), g = word(round(GradientScale * round(c == targets[i] ? p - 1 : p)));
                    for (int h = 0; h < hidden; h++)
                    {
                        reference.Dx[i * hidden + h] = round(reference.Dx[i * hidden + h] + round(g * w[c * hidden + h]));
                        reference.Dweight[c * hidden + h] = round(reference.Dweight[c * hidden + h] + round(g * x[i * hidden + h]));
                    }
                }
            }

            return reference;
        }
    }
}

public sealed class LossOnCpu : LossTests<TestDevice.Cpu>;

public sealed class LossOnOpenCl : LossTests<TestDevice.OpenCl>;

public sealed class LossOnASmallGpu : LossTests<TestDevice.SmallGpu>;
