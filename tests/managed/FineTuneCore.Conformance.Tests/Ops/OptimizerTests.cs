using FineTuneCore.Backends;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Models;
using FineTuneCore.Tensors;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>Updates, the gradient's norm and clipping.</summary>
public abstract class OptimizerTests<TDevice> : OpTests<TDevice>
    where TDevice : TestDevice, new()
{
    private static readonly AdamWArguments Adam = new(0.01f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 3);

    [Theory]
    [InlineData(1)]
    [InlineData(257)]
    [InlineData(5000)]
    public void AdamWEqualsTheReference(int count)
    {
        float[] p = Numbers.Random(91, count), m = Numbers.Random(92, count, 0.1f), v = [.. Numbers.Random(93, count, 0.1f).Select(MathF.Abs)], g = Numbers.Random(94, count);
        double[][] exact = AdamWOf(p, m, v, g, x => x), naive = AdamWOf(p, m, v, g, x => (float)x);
        Tensor ps = Memory.Vector(p), ms = Memory.Vector(m), vs = Memory.Vector(v);
        Backend.AdamWStep(ps, ms, vs, Memory.Vector(g), Adam);
        Accuracy.Check(Memory.Read(ps), exact[0], naive[0], "parameter", FunctionUlps);
        Accuracy.Check(Memory.Read(ms), exact[1], naive[1], "m");
        Accuracy.Check(Memory.Read(vs), exact[2], naive[2], "v");
    }

    [Fact]
    public void NumbersOnTheDeviceCountAndMaySkipTheUpdate()
    {
        const int Count = 300;
        float[] p = Numbers.Random(95, Count), g = Numbers.Random(96, Count);
        UpdateNumbers update = Backend.AdamWNumbers(Adam);
        double bias1 = 1 - Math.Pow(0.9f, 3), bias2 = 1 - Math.Pow(0.95f, 3);
        update.Should().Be(new UpdateNumbers(0.01f, (float)(1 - (double)0.01f * 0.1f), (float)(0.01f / bias1), (float)Math.Sqrt(bias2)));
        Tensor updates = Memory.Vector([update.LearningRate, update.Decay, update.StepSize, update.VCorrection]), gs = Memory.Vector(g);
        float[] Run(AdamWArguments a)
        {
            Tensor ps = Memory.Vector(p);
            Backend.AdamWStep(ps, Memory.Vector(new float[Count]), Memory.Vector(new float[Count]), gs, a);
            return Memory.Read(ps);
        }

        Tensor Steps(int skip) => Memory.Vector([0, 0, BitConverter.SingleToInt32Bits(0.5f), skip], DType.I32);
        AdamWArguments moved = Adam with { LearningRate = 9, GradientScale = 7, WeightDecay = 3 };
        Run(moved with { StepNumbers = Steps(0), UpdateNumbers = updates }).Should().Equal(Run(Adam));
        Run(moved with { StepNumbers = Steps(1), UpdateNumbers = updates }).Should().Equal(p);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(300)]
    [InlineData(1024)]
    public void AdamW8BitKeepsItsStateToTheMapsResolution(int count)
    {
        (float[] mMap, float[] vMap) = (DynamicMaps.Signed(), DynamicMaps.Unsigned());
        int blocks = (count + 255) / 256;
        float[] p = Numbers.Random(97, count), before = p;
        byte[] zeroM = [.. Enumerable.Repeat((byte)Array.IndexOf(mMap, 0f), count)], zeroV = [.. Enumerable.Repeat((byte)Array.IndexOf(vMap, 0f), count)];
        Tensor ps = Memory.Vector(p), mCodes = Memory.Vector(zeroM, DType.U8), vCodes = Memory.Vector(zeroV, DType.U8);
        Tensor mAbsmax = Memory.Vector(new float[blocks]), vAbsmax = Memory.Vector(new float[blocks]), mMaps = Memory.Vector(mMap), vMaps = Memory.Vector(vMap);
        float[] m = new float[count], v = new float[count];
        for (int step = 1; step <= 3; step++)
        {
            float[] g = Numbers.Random(98 + step, count);
            AdamWArguments a = Adam with { Step = step };
            Backend.AdamW8BitStep(ps, mCodes, vCodes, mAbsmax, vAbsmax, Memory.Vector(g), mMaps, vMaps, in a);
            double[][] exact = AdamWOf(before, m, v, g, x => x, step), naive = AdamWOf(before, m, v, g, x => (float)x, step);
            before = Memory.Read(ps);
            Accuracy.Check(before, exact[0], naive[0], $"parameter after step {step}", FunctionUlps);
            m = Decoded(Memory.Read<byte>(mCodes), Memory.Read(mAbsmax), mMap, exact[1]);
            v = Decoded(Memory.Read<byte>(vCodes), Memory.Read(vAbsmax), vMap, exact[2]);
        }
    }

    [Theory]
    [InlineData(1, 0f)]
    [InlineData(777, 0f)]
    [InlineData(777, 0.9f)]
    public void SgdEqualsTheReference(int count, float momentum)
    {
        float[] p = Numbers.Random(101, count), u = Numbers.Random(102, count), g = Numbers.Random(103, count);
        var a = new SgdArguments(0.1f, momentum, 0.2f, 0.5f);
        double[][] Of(Func<double, double> round)
        {
            double[] ps = new double[count], us = new double[count];
            for (int i = 0; i < count; i++)
            {
                double gradient = round(round((double)g[i] * 0.5f) + round((double)0.2f * p[i]));
                us[i] = momentum == 0 ? gradient : round(round((double)momentum * u[i]) + gradient);
                ps[i] = round(p[i] - round((double)0.1f * us[i]));
            }

            return [ps, us];
        }

        Tensor parameter = Memory.Vector(p), velocity = Memory.Vector(u);
        Backend.SgdStep(parameter, momentum == 0 ? default : velocity, Memory.Vector(g), in a);
        Accuracy.Check(Memory.Read(parameter), Of(x => x)[0], Of(x => (float)x)[0], "parameter");
        if (momentum != 0) Accuracy.Check(Memory.Read(velocity), Of(x => x)[1], Of(x => (float)x)[1], "velocity");
    }

    [Theory]
    [InlineData(1, 1f)]
    [InlineData(10007, 1e-3f)]
    [InlineData(100003, 1e10f)]
    public void SumsOfSquaresAreMoreThanSinglePrecise(int count, float scale)
    {
        float[] x = Numbers.Random(104, count, scale);
        Tensor sum = Memory.Output(1, 1);
        Backend.SumOfSquares(sum, Memory.Vector(x));
        double exact = x.Sum(v => (double)v * v);
        Memory.Read(sum)[0].Should().Be((float)exact, "it is rounded once");
    }

    [Theory]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NaN)]
    public void SumsOfSquaresShowWhatIsNotFinite(float value)
    {
        Tensor sum = Memory.Output(1, 1);
        Backend.SumOfSquares(sum, Memory.Vector([1, value, 2]));
        float.IsFinite(Memory.Read(sum)[0]).Should().BeFalse();
    }

    [Theory]
    [InlineData(4f, 0.5f, 1f, 0.25f, 0)]
    [InlineData(4f, 5f, 1f, 1f, 0)]
    [InlineData(4f, 0f, 1f, 1f, 0)]
    [InlineData(4f, 0.5f, float.NaN, 0.25f, 1)]
    [InlineData(float.PositiveInfinity, 0f, 1f, 1f, 1)]
    public void ClippingDecidesFactorAndSkip(float sum, float clipNorm, float nll, float factor, int skip)
    {
        var losses = new float[300];
        losses[299] = nll;
        Tensor numbers = Memory.Vector([7, 8, 9, 10], DType.I32);
        Backend.ClipGradients(numbers, Memory.Vector([sum]), Memory.Vector(losses), clipNorm);
        int[] after = Memory.Read<int>(numbers);
        after[..2].Should().Equal(7, 8);
        after[3].Should().Be(skip);
        BitConverter.Int32BitsToSingle(after[2]).Should().BeApproximately(factor, 1e-6f);
    }

    private static double[][] AdamWOf(float[] p, float[] m, float[] v, float[] g, Func<double, double> round, int step = 3)
    {
        double[] ps = new double[p.Length], ms = new double[p.Length], vs = new double[p.Length];
        double decay = round(1 - (double)Adam.LearningRate * Adam.WeightDecay);
        double size = round(Adam.LearningRate / (1 - Math.Pow(Adam.Beta1, step))), correction = round(Math.Sqrt(1 - Math.Pow(Adam.Beta2, step)));
        for (int i = 0; i < p.Length; i++)
        {
            double gradient = round((double)g[i] * Adam.GradientScale);
            ms[i] = round(round((double)Adam.Beta1 * m[i]) + round(round(1 - (double)Adam.Beta1) * gradient));
            vs[i] = round(round((double)Adam.Beta2 * v[i]) + round(round(round(1 - (double)Adam.Beta2) * gradient) * gradient));
            double width = round(round(round(Math.Sqrt(vs[i])) / correction) + Adam.Eps);
            ps[i] = round(round(p[i] * decay) - round(size * round(ms[i] / width)));
        }

        return [ps, ms, vs];
    }

    /// <summary>The state as its codes give it; every code must be a nearest one, up to the rounding of the value.</summary>
    private static float[] Decoded(byte[] codes, float[] absmax, float[] map, double[] exact)
    {
        var values = new float[codes.Length];
        for (int i = 0; i < codes.Length; i++)
        {
            values[i] = map[codes[i]] * absmax[i / 256];
            double error = Math.Abs(values[i] - exact[i]), best = map.Min(value => Math.Abs((double)value * absmax[i / 256] - exact[i]));
            error.Should().BeLessThanOrEqualTo(best + 1e-6 * absmax[i / 256], "code {0} of {1}", codes[i], i);
        }

        for (int b = 0; b < absmax.Length; b++)
            ((double)absmax[b]).Should().BeApproximately(exact.Skip(b * 256).Take(256).Max(Math.Abs), 1e-6 * absmax[b]);
        return values;
    }
}

public sealed class OptimizerOnCpu : OptimizerTests<TestDevice.Cpu>;

public sealed class OptimizerOnOpenCl : OptimizerTests<TestDevice.OpenCl>;

public sealed class OptimizerOnASmallGpu : OptimizerTests<TestDevice.SmallGpu>;
