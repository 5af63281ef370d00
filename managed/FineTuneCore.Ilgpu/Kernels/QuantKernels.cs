using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

internal struct Nf4QuantizeArguments
{
    public ArrayView<byte> Codes;
    public ArrayView<float> Absmax;
    public ArrayView<float> X;
    public ArrayView<float> Thresholds; // [15]
    public long Count;
}

internal struct AbsmaxQuantizeArguments
{
    public ArrayView<byte> Codes;
    public ArrayView<float> NestedAbsmax;
    public ArrayView<float> NestedOffset;
    public ArrayView<float> Absmax;
    public ArrayView<float> NestedMap;
    public long Count;
    public long Rows; // of 32 floats
    public int Power; // 2^Power rows before a level joins the next
}

internal struct RowQuantizeArguments
{
    public ArrayView<byte> Codes;
    public ArrayView<float> Scale;
    public ArrayView<float> Minimum;
    public ArrayView<float> X;
    public long XStride;
    public int Rows;
    public int Columns;
    public int Bits;
    public int GroupSize;
    public int Search;
}

internal struct AffineMergeArguments
{
    public ArrayView<float> Minimum;
    public ArrayView<float> A;
    public ArrayView<float> B;
    public int Groups;
    public int Rank;
    public int GroupSize;
    public float Scaling;
}

/// <summary>Codes on an ascending map of 256 values.</summary>
internal static class Codes
{
    /// <summary>bitsandbytes multiplies by the reciprocal and guards an empty block so.</summary>
    public static float Reciprocal(float absmax) => 1f / (absmax < 1e-38f ? 1e-38f : absmax);

    public static float ClampToOne(float x)
    {
        float high = x > 1f ? 1f : x;
        return high < -1f ? -1f : high;
    }

    /// <summary>Of the map's value nearest to x, the lower one on a tie: how many midpoints lie below x.</summary>
    public static int Nearest(ArrayView<float> map, float x)
    {
        float clamped = ClampToOne(x);
        int code = 0;
        for (int step = 128; step > 0; step /= 2)
        {
            int at = code + step - 1;
            if ((map[at] + map[at + 1]) / 2f < clamped) code += step;
        }

        return code;
    }
}

/// <summary>Quantisation: NF4 and its nested absmax as bitsandbytes makes them, int8 by rows, affine by groups.</summary>
internal static class QuantKernels
{
    internal const int Block = 64;
    internal const int NestedBlock = 256;
    internal const int SumLanes = 32; // of NestedOffset

    /// <summary>A group of 32 threads takes a block of 64, a thread two codes and the byte they share.</summary>
    public static void Nf4(Nf4QuantizeArguments p)
    {
        ArrayView<uint> largest = SharedMemory.Allocate<uint>(Block / 2);
        ArrayView<float> thresholds = SharedMemory.Allocate<float>(16);
        int thread = Group.IdxX;
        long first = (long)Grid.IdxX * Block + 2 * thread;
        if (thread < 15) thresholds[thread] = p.Thresholds[thread];
        float low = first < p.Count ? p.X[first] : 0f, high = first + 1 < p.Count ? p.X[first + 1] : 0f;
        largest[thread] = IntrinsicMath.Max(Reductions.Magnitude(low), Reductions.Magnitude(high));
        Intrinsics.Barrier();
        for (int half = Block / 4; half > 0; half /= 2)
        {
            if (thread < half) largest[thread] = IntrinsicMath.Max(largest[thread], largest[thread + half]);
            Intrinsics.Barrier();
        }

        float absmax = Interop.IntAsFloat(largest[0]), scale = Codes.Reciprocal(absmax);
        if (thread == 0) p.Absmax[Grid.IdxX] = absmax;
        if (first >= p.Count) return;
        // An odd count is padded with a zero, whose code is 7.
        p.Codes[first / 2] = (byte)((Nf4Code(thresholds, low * scale) << 4) | Nf4Code(thresholds, high * scale));
    }

    /// <summary>
    /// The mean of absmax, added in the order in which PyTorch adds on one thread of an AVX2 machine: 4 accumulators of 8 lanes, a thread each, which
    /// cascade through four levels. One group of 32.
    /// </summary>
    public static void NestedOffset(AbsmaxQuantizeArguments p)
    {
        ArrayView<float> sums = SharedMemory.Allocate<float>(SumLanes);
        int lane = Group.IdxX;
        float level0 = 0f, level1 = 0f, level2 = 0f, level3 = 0f;
        long step = 1L << p.Power, row = 0;
        while (row + step <= p.Rows)
        {
            for (long end = row + step; row < end; row++) level0 += p.Absmax[row * SumLanes + lane];
            level1 += level0;
            level0 = 0f;
            if ((row & ((step - 1) << p.Power)) != 0) continue;
            level2 += level1;
            level1 = 0f;
            if ((row & ((step - 1) << (2 * p.Power))) != 0) continue;
            level3 += level2;
            level2 = 0f;
        }

        for (; row < p.Rows; row++) level0 += p.Absmax[row * SumLanes + lane];
        level0 += level1;
        level0 += level2;
        level0 += level3;
        // Whole vectors of 8 that are left over join the first accumulator.
        long vectors = p.Count / 8;
        if (lane < 8)
            for (long v = p.Rows * 4; v < vectors; v++) level0 += p.Absmax[v * 8 + lane];
        sums[lane] = level0;
        Intrinsics.Barrier();
        if (lane < 8) sums[lane] = sums[lane] + sums[lane + 8] + sums[lane + 16] + sums[lane + 24];
        Intrinsics.Barrier();
        if (lane != 0) return;
        float total = 0f;
        for (long i = vectors * 8; i < p.Count; i++) total += p.Absmax[i];
        for (int i = 0; i < 8; i++) total += sums[i];
        p.NestedOffset[0] = total / p.Count;
    }

    /// <summary>A group takes a nested block of 256.</summary>
    public static void NestedAbsmax(AbsmaxQuantizeArguments p)
    {
        ArrayView<uint> shared = SharedMemory.Allocate<uint>(Reductions.Threads);
        ArrayView<float> map = SharedMemory.Allocate<float>(256);
        long first = (long)Grid.IdxX * NestedBlock;
        int count = (int)IntrinsicMath.Min(NestedBlock, p.Count - first);
        float offset = p.NestedOffset[0];
        uint largest = 0;
        for (int c = Group.IdxX; c < 256; c += Group.DimX) map[c] = p.NestedMap[c];
        for (int c = Group.IdxX; c < count; c += Group.DimX) largest = IntrinsicMath.Max(largest, Reductions.Magnitude(p.Absmax[first + c] - offset));
        float absmax = Interop.IntAsFloat(Reductions.Largest(largest, shared)), scale = Codes.Reciprocal(absmax);
        if (Group.IdxX == 0) p.NestedAbsmax[Grid.IdxX] = absmax;
        for (int c = Group.IdxX; c < count; c += Group.DimX) p.Codes[first + c] = (byte)Codes.Nearest(map, (p.Absmax[first + c] - offset) * scale);
    }

    /// <summary>A group takes a row.</summary>
    public static void Int8(RowQuantizeArguments p)
    {
        ArrayView<uint> shared = SharedMemory.Allocate<uint>(Reductions.Threads);
        uint largest = 0;
        int row = Grid.IdxX;
        for (int c = Group.IdxX; c < p.Columns; c += Group.DimX) largest = IntrinsicMath.Max(largest, Reductions.Magnitude(p.X[row * p.XStride + c]));
        float scale = Interop.IntAsFloat(Reductions.Largest(largest, shared)) / 127f;
        if (Group.IdxX == 0) p.Scale[row] = scale;
        for (int c = Group.IdxX; c < p.Columns; c += Group.DimX)
        {
            float steps = scale > 0f ? p.X[row * p.XStride + c] / scale : 0f;
            float low = steps > -127f ? steps : -127f, clamped = low < 127f ? low : 127f;
            p.Codes[(long)row * p.Columns + c] = (byte)(int)(clamped + 12582912f - 12582912f); // to the nearest integer, ties to even
        }
    }

    /// <summary>A thread takes a group of a row.</summary>
    public static void Affine(RowQuantizeArguments p)
    {
        int groups = p.Columns / p.GroupSize;
        long index = Grid.LongGlobalIndex.X;
        if (index >= (long)p.Rows * groups) return;
        long row = index / groups, x = row * p.XStride + index % groups * p.GroupSize;
        float top = (1 << p.Bits) - 1, low = p.X[x], high = low;
        for (int k = 1; k < p.GroupSize; k++)
        {
            float value = p.X[x + k];
            low = value < low ? value : low;
            high = value > high ? value : high;
        }

        float scale = ScaleOf(low, high, top), minimum = low;
        if (p.Search != 0)
        {
            float smallest = SquaredError(p, x, scale, minimum, top), half = (high - low) * 0.5f, middle = low + half;
            for (int i = 1; i < 21; i++)
            {
                float narrowed = half * (1f - 0.02f * i);
                float otherScale = ScaleOf(middle - narrowed, middle + narrowed, top), otherMinimum = middle - narrowed;
                float error = SquaredError(p, x, otherScale, otherMinimum, top);
                if (!(error < smallest)) continue;
                smallest = error;
                scale = otherScale;
                minimum = otherMinimum;
            }
        }

        p.Scale[index] = scale;
        p.Minimum[index] = minimum;
        long bytes = row * ((long)p.Columns / 8 * p.Bits) + index % groups * (p.GroupSize / 8 * p.Bits);
        for (int k = 0; k < p.GroupSize; k += 8)
        {
            // Eight codes fill Bits bytes.
            uint word = 0;
            for (int i = 0; i < 8; i++) word |= (uint)(int)CodeOf(p.X[x + k + i], scale, minimum, top) << (p.Bits * i);
            for (int b = 0; b < p.Bits; b++) p.Codes[bytes + k / 8 * p.Bits + b] = (byte)(word >> (8 * b));
        }
    }

    /// <summary>minimum += scaling / group size · b a, summed in twice fp32. A thread takes a group of a row.</summary>
    public static void AffineMerge(AffineMergeArguments p)
    {
        int group = Grid.GlobalIndex.X, row = Grid.IdxY;
        if (group >= p.Groups) return;
        var sum = default(DoubleFloat);
        for (int t = 0; t < p.Rank; t++) sum = DoubleFloat.Add(sum, DoubleFloat.Product(p.B[(long)row * p.Rank + t], p.A[(long)t * p.Groups + group]));
        long at = (long)row * p.Groups + group;
        DoubleFloat scaled = DoubleFloat.Multiply(sum, p.Scaling);
        // A group size is a power of two: dividing by it is exact.
        scaled = new DoubleFloat { High = scaled.High / p.GroupSize, Low = scaled.Low / p.GroupSize };
        p.Minimum[at] = DoubleFloat.Add(new DoubleFloat { High = p.Minimum[at] }, scaled).Rounded();
    }

    private static int Nf4Code(ArrayView<float> thresholds, float x)
    {
        float clamped = Codes.ClampToOne(x);
        int code = 0;
        for (int i = 0; i < 15; i++) code += clamped > thresholds[i] ? 1 : 0;
        return code;
    }

    /// <summary>Values too near to each other for a scale of their own count as equal.</summary>
    private static float ScaleOf(float low, float high, float top)
    {
        float scale = (high - low) / top;
        return scale > 0f ? scale : 1f;
    }

    private static float CodeOf(float x, float scale, float minimum, float top)
    {
        float steps = (x - minimum) / scale, positive = steps > 0f ? steps : 0f;
        return (positive < top ? positive : top) + 8388608f - 8388608f; // to the nearest integer, ties to even
    }

    /// <summary>In eight interleaved chains, as the other backends add it, so that all choose the same range.</summary>
    private static float SquaredError(RowQuantizeArguments p, long x, float scale, float minimum, float top)
    {
        float even = (Chain(p, x, scale, minimum, top) + Chain(p, x + 4, scale, minimum, top)) + (Chain(p, x + 2, scale, minimum, top) + Chain(p, x + 6, scale, minimum, top));
        float odd = (Chain(p, x + 1, scale, minimum, top) + Chain(p, x + 5, scale, minimum, top)) + (Chain(p, x + 3, scale, minimum, top) + Chain(p, x + 7, scale, minimum, top));
        return even + odd;
    }

    private static float Chain(RowQuantizeArguments p, long x, float scale, float minimum, float top)
    {
        float sum = 0f;
        for (int k = 0; k < p.GroupSize; k += 8)
        {
            float error = Intrinsics.Fma(scale, CodeOf(p.X[x + k], scale, minimum, top), minimum) - p.X[x + k];
            sum += error * error;
        }

        return sum;
    }
}
