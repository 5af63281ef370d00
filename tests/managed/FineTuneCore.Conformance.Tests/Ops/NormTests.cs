using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>RMSNorm with residual and per head, and its gradients.</summary>
public abstract class NormTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    private const float Eps = 1e-5f;

    [Theory]
    [InlineData(1, 1, 1, true, false)]
    [InlineData(3, 1, 257, true, false)]
    [InlineData(5, 3, 64, false, false)]
    [InlineData(7, 1, 1031, true, true)]
    [InlineData(4, 2, 17, false, true)]
    public void ForwardAndBackwardEqualTheReference(int rows, int heads, int width, bool residual, bool bf16)
    {
        DType type = TypeOf(bf16);
        int columns = heads * width, count = rows * columns;
        float[] x = Numbers.Random(11, count, 2f, type), r = Numbers.Random(12, count, 2f, type), weight = Numbers.Random(13, width, 1.5f);
        float[] dy = Numbers.Random(14, count, 1f, type), dsum = Numbers.Random(15, count, 1f, type), dweight = Numbers.Random(16, width);
        float[] t = [.. x.Select((v, i) => residual ? Numbers.Rounded(v + r[i], type) : v)];
        double[] rstd = Rstd(t, rows * heads, width, v => v), naiveRstd = Rstd(t, rows * heads, width, v => (float)v);

        Tensor xs = Memory.Matrix(x, rows, columns, type, gap: 3), sum = Memory.Output(rows, columns, type, gap: 3), y = Memory.Output(rows, columns, type, gap: 1);
        Tensor weights = Memory.Vector(weight), kept = Memory.Output(rows, heads);
        Backend.RmsNormForward(y, residual ? sum : default, kept, xs, residual ? Memory.Matrix(r, rows, columns, type, gap: 2) : default, weights, heads, Eps);
        if (residual) Memory.Read(sum).Should().Equal(t);
        Accuracy.Check(Memory.Read(kept), rstd, naiveRstd, "rstd", FunctionUlps);
        double[] exact = [.. t.Select((v, i) => v * rstd[i / width] * weight[i % width])];
        Accuracy.Check(Memory.Read(y), exact, [.. t.Select((v, i) => (double)(v * (float)naiveRstd[i / width] * weight[i % width]))], "y", FunctionUlps, type);

        // Backward from the exact rstd, so that its own error shows; dx over dy.
        float[] given = [.. rstd.Select(v => (float)v)];
        Tensor ts = Memory.Matrix(t, rows, columns, type, gap: 3), dys = Memory.Matrix(dy, rows, columns, type, gap: 4), dweights = Memory.Vector(dweight);
        Backend.RmsNormBackward(
            dys, dweights, dys, residual ? Memory.Matrix(dsum, rows, columns, type, gap: 2) : default, ts, Memory.Matrix(given, rows, heads), weights, heads, Eps);
        double[] dx = Dx(dy, t, given, weight, residual ? dsum : null, v => v), naiveDx = Dx(dy, t, given, weight, residual ? dsum : null, v => (float)v);
        Accuracy.Check(Memory.Read(dys), dx, naiveDx, "dx", FunctionUlps, type);
        double[] dw = Dweight(dy, t, given, dweight, v => v), naiveDw = Dweight(dy, t, given, dweight, v => (float)v);
        Accuracy.Check(Memory.Read(dweights), dw, naiveDw, "dweight", FunctionUlps);
    }

    private static double[] Rstd(float[] t, int groups, int width, Func<double, double> round)
    {
        var rstd = new double[groups];
        for (int g = 0; g < groups; g++)
        {
            double squares = 0;
            for (int c = 0; c < width; c++) squares = round(squares + round((double)t[g * width + c] * t[g * width + c]));
            rstd[g] = round(1 / round(Math.Sqrt(round(round(squares / width) + Eps))));
        }

        return rstd;
    }

    private static double[] Dx(float[] dy, float[] t, float[] rstd, float[] weight, float[]? dsum, Func<double, double> round)
    {
        int width = weight.Length;
        var dx = new double[dy.Length];
        for (int g = 0; g < rstd.Length; g++)
        {
            double dot = 0;
            for (int c = 0; c < width; c++) dot = round(dot + round(round((double)dy[g * width + c] * weight[c]) * t[g * width + c]));
            double slope = round(round(round(dot / width) * rstd[g]) * rstd[g]);
            for (int c = 0; c < width; c++)
            {
                int i = g * width + c;
                dx[i] = round(round(rstd[g] * round(round((double)dy[i] * weight[c]) - round(t[i] * slope))) + (dsum is null ? 0 : dsum[i]));
            }
        }

        return dx;
    }

    private static double[] Dweight(float[] dy, float[] t, float[] rstd, float[] before, Func<double, double> round)
    {
        int width = before.Length;
        var dweight = new double[width];
        for (int i = 0; i < dy.Length; i++) dweight[i % width] = round(dweight[i % width] + round(round((double)dy[i] * t[i]) * rstd[i / width]));
        for (int c = 0; c < width; c++) dweight[c] = round(dweight[c] + before[c]);
        return dweight;
    }
}

public sealed class NormOnCpu : NormTests<TestDevice.Cpu>;

public sealed class NormOnOpenCl : NormTests<TestDevice.OpenCl>;

public sealed class NormOnASmallGpu : NormTests<TestDevice.SmallGpu>;
