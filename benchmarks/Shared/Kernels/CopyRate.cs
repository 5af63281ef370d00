using System.Diagnostics;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>What memory gives one thread: the roof for ops that do little arithmetic.</summary>
internal static class CopyRate
{
    internal const int Bytes = 128 << 20; // far more than a cache holds
    private const int Rounds = 9;

    /// <summary>Bytes read and written a second, in 10⁹, by a copy of <see cref="Bytes"/>: the best of a few.</summary>
    internal static double Gigabytes(Action copy)
    {
        double best = 0;
        for (int round = 0; round < Rounds; round++)
        {
            long start = Stopwatch.GetTimestamp();
            copy();
            best = Math.Max(best, 2.0 * Bytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
        }

        return Math.Round(best, 1);
    }
}
