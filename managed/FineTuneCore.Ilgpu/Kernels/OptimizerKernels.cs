using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>Numbers of an update. What stands on the device counts where given: StepNumbers as floats and integers, UpdateNumbers as floats.</summary>
internal struct UpdateArguments
{
    public ArrayView<float> Parameter;
    public ArrayView<float> M; // velocity of SGD, when HasM
    public ArrayView<float> V;
    public ArrayView<float> Gradient;
    public ArrayView<int> StepNumbers;
    public ArrayView<float> UpdateNumbers;
    public long Count;
    public int HasStepNumbers;
    public int HasUpdateNumbers;
    public int HasM;
    public float GradientScale;
    public float Beta1;
    public float OneMinusBeta1;
    public float Beta2;
    public float OneMinusBeta2;
    public float Eps;
    public float LearningRate;
    public float Decay;
    public float StepSize;
    public float VCorrection;
    public float WeightDecay; // SGD
    public float Momentum; // SGD
}

/// <summary>The 8-bit state: codes on a map times an absmax for every block of 256.</summary>
internal struct CodedState
{
    public ArrayView<byte> Codes;
    public ArrayView<float> Absmax;
    public ArrayView<float> Map;
}

internal struct CodedUpdateArguments
{
    public UpdateArguments Update;
    public CodedState M;
    public CodedState V;
}

internal struct ClipArguments
{
    public ArrayView<int> StepNumbers;
    public ArrayView<float> Sum;
    public ArrayView<float> Nll;
    public int Count;
    public float ClipNorm;
}

internal struct SquaresArguments
{
    public ArrayView<float> X;
    public ArrayView<float> Partial; // [groups] pairs of high and low
    public ArrayView<float> Sum;
    public long Count;
    public long PerGroup;
    public int Groups;
}

/// <summary>Updates, clipping and the gradient's norm.</summary>
internal static class OptimizerKernels
{
    internal const int StateBlock = 256;
    private const int GradientScaleAt = 2; // in StepNumbers
    private const int SkipAt = 3;

    public static void AdamW(UpdateArguments p)
    {
        long i = Grid.LongGlobalIndex.X;
        if (i >= p.Count || Skips(p)) return;
        float m = p.M[i], v = p.V[i];
        p.Parameter[i] = Updated(p, p.Parameter[i], p.Gradient[i], ref m, ref v);
        p.M[i] = m;
        p.V[i] = v;
    }

    /// <summary>A group takes a block of 256.</summary>
    public static void AdamW8Bit(CodedUpdateArguments p)
    {
        ArrayView<float> mMap = SharedMemory.Allocate<float>(256);
        ArrayView<float> vMap = SharedMemory.Allocate<float>(256);
        ArrayView<float> ms = SharedMemory.Allocate<float>(StateBlock); // the block's new moments, each one thread's own
        ArrayView<float> vs = SharedMemory.Allocate<float>(StateBlock);
        ArrayView<uint> shared = SharedMemory.Allocate<uint>(Reductions.Threads);
        int block = Grid.IdxX;
        if (Skips(p.Update)) return; // every group
        for (int c = Group.IdxX; c < 256; c += Group.DimX)
        {
            mMap[c] = p.M.Map[c];
            vMap[c] = p.V.Map[c];
        }

        Intrinsics.Barrier();
        long first = (long)block * StateBlock;
        int count = (int)IntrinsicMath.Min(StateBlock, p.Update.Count - first);
        float mAbsmax = p.M.Absmax[block], vAbsmax = p.V.Absmax[block];
        uint mLargest = 0, vLargest = 0;
        for (int c = Group.IdxX; c < count; c += Group.DimX)
        {
            long i = first + c;
            float m = mMap[(int)p.M.Codes[i]] * mAbsmax, v = vMap[(int)p.V.Codes[i]] * vAbsmax;
            p.Update.Parameter[i] = Updated(p.Update, p.Update.Parameter[i], p.Update.Gradient[i], ref m, ref v);
            ms[c] = m;
            vs[c] = v;
            mLargest = IntrinsicMath.Max(mLargest, Reductions.Magnitude(m));
            vLargest = IntrinsicMath.Max(vLargest, Reductions.Magnitude(v));
        }

        mAbsmax = Interop.IntAsFloat(Reductions.Largest(mLargest, shared));
        vAbsmax = Interop.IntAsFloat(Reductions.Largest(vLargest, shared));
        if (Group.IdxX == 0)
        {
            p.M.Absmax[block] = mAbsmax;
            p.V.Absmax[block] = vAbsmax;
        }

        float mScale = Codes.Reciprocal(mAbsmax), vScale = Codes.Reciprocal(vAbsmax);
        for (int c = Group.IdxX; c < count; c += Group.DimX)
        {
            p.M.Codes[first + c] = (byte)Codes.Nearest(mMap, ms[c] * mScale);
            p.V.Codes[first + c] = (byte)Codes.Nearest(vMap, vs[c] * vScale);
        }
    }

    public static void Sgd(UpdateArguments p)
    {
        long i = Grid.LongGlobalIndex.X;
        if (i >= p.Count || Skips(p)) return;
        float value = p.Parameter[i], u = p.Gradient[i] * ScaleOf(p) + p.WeightDecay * value;
        if (p.HasM != 0)
        {
            u += p.Momentum * p.M[i];
            p.M[i] = u;
        }

        p.Parameter[i] = value - (p.HasUpdateNumbers != 0 ? p.UpdateNumbers[0] : p.LearningRate) * u;
    }

    /// <summary>One group. The factor as PyTorch clips; skip when the sum or a loss is not finite.</summary>
    public static void Clip(ClipArguments p)
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reductions.Threads);
        float bad = 0f;
        for (int i = Group.IdxX; i < p.Count; i += Group.DimX)
            if (!(p.Nll[i] - p.Nll[i] == 0f)) bad = 1f;
        float allBad = Reductions.Sum(bad, shared), sum = p.Sum[0];
        if (Group.IdxX != 0) return;
        float factor = p.ClipNorm > 0f ? IntrinsicMath.Min(1f, p.ClipNorm / (MathF.Sqrt(sum) + 1e-6f)) : 1f;
        p.StepNumbers[GradientScaleAt] = (int)Interop.FloatAsInt(factor);
        p.StepNumbers[SkipAt] = allBad > 0f || !(sum - sum == 0f) ? 1 : 0;
    }

    /// <summary>Sums of squares of equal stretches, in twice fp32: thread after thread takes elements in turn, then a fixed tree.</summary>
    public static void PartialSquares(SquaresArguments p)
    {
        long begin = Grid.IdxX * p.PerGroup, end = IntrinsicMath.Min(begin + p.PerGroup, p.Count);
        var sum = default(DoubleFloat);
        for (long i = begin + Group.IdxX; i < end; i += Group.DimX) sum = DoubleFloat.Add(sum, DoubleFloat.Product(p.X[i], p.X[i]));
        DoubleFloat total = Total(sum);
        if (Group.IdxX != 0) return;
        int at = 2 * Grid.IdxX;
        p.Partial[at] = total.High;
        p.Partial[at + 1] = total.Low;
    }

    /// <summary>One group.</summary>
    public static void FinalSquares(SquaresArguments p)
    {
        var sum = default(DoubleFloat);
        for (int i = Group.IdxX; i < p.Groups; i += Group.DimX)
            sum = DoubleFloat.Add(sum, new DoubleFloat { High = p.Partial[i * 2L], Low = p.Partial[i * 2L + 1] });
        DoubleFloat total = Total(sum);
        if (Group.IdxX == 0) p.Sum[0] = total.Rounded();
    }

    private static DoubleFloat Total(DoubleFloat value)
    {
        ArrayView<float> high = SharedMemory.Allocate<float>(Reductions.Threads);
        ArrayView<float> low = SharedMemory.Allocate<float>(Reductions.Threads);
        int thread = Group.IdxX;
        high[thread] = value.High;
        low[thread] = value.Low;
        Intrinsics.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (thread < half)
            {
                DoubleFloat sum = DoubleFloat.Add(
                    new DoubleFloat { High = high[thread], Low = low[thread] }, new DoubleFloat { High = high[thread + half], Low = low[thread + half] });
                high[thread] = sum.High;
                low[thread] = sum.Low;
            }

            Intrinsics.Barrier();
        }

        return new DoubleFloat { High = high[0], Low = low[0] };
    }

    private static bool Skips(UpdateArguments p) => p.HasStepNumbers != 0 && p.StepNumbers[SkipAt] != 0;

    private static float ScaleOf(UpdateArguments p) =>
        p.HasStepNumbers != 0 ? Interop.IntAsFloat((uint)p.StepNumbers[GradientScaleAt]) : p.GradientScale;

    /// <summary>The parameter after a step. Loshchilov &amp; Hutter 2019, arXiv:1711.05101.</summary>
    private static float Updated(UpdateArguments p, float parameter, float gradient, ref float m, ref float v)
    {
        float decay = p.HasUpdateNumbers != 0 ? p.UpdateNumbers[1] : p.Decay;
        float stepSize = p.HasUpdateNumbers != 0 ? p.UpdateNumbers[2] : p.StepSize;
        float vCorrection = p.HasUpdateNumbers != 0 ? p.UpdateNumbers[3] : p.VCorrection;
        float g = gradient * ScaleOf(p);
        m = p.Beta1 * m + p.OneMinusBeta1 * g;
        v = p.Beta2 * v + p.OneMinusBeta2 * g * g;
        return parameter * decay - stepSize * (m / (MathF.Sqrt(v) / vCorrection + p.Eps));
    }
}
