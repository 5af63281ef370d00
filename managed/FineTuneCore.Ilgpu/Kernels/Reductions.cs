using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>
/// Reductions of a group of <see cref="Threads"/>, or of a smaller power of two, over a fixed tree in shared memory: the same bits on every run. Every
/// thread calls them and gets the result.
/// </summary>
internal static class Reductions
{
    internal const int Threads = 128;

    /// <param name="value">Of this thread.</param>
    /// <param name="shared">A number for every thread.</param>
    public static float Sum(float value, ArrayView<float> shared)
    {
        int thread = Group.IdxX;
        Intrinsics.Barrier();
        shared[thread] = value;
        Intrinsics.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (thread < half) shared[thread] += shared[thread + half];
            Intrinsics.Barrier();
        }

        return shared[0];
    }

    /// <summary>The largest of the bits of |x|: NaN is larger than any number and stays visible.</summary>
    public static uint Largest(uint value, ArrayView<uint> shared)
    {
        int thread = Group.IdxX;
        Intrinsics.Barrier();
        shared[thread] = value;
        Intrinsics.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (thread < half && shared[thread + half] > shared[thread]) shared[thread] = shared[thread + half];
            Intrinsics.Barrier();
        }

        return shared[0];
    }

    public static uint Magnitude(float x) => Interop.FloatAsInt(x) & 0x7fffffffu;
}
