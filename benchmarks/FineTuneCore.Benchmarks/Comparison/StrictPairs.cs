namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>One run of each side, one right after the other.</summary>
internal sealed record Pair(Measurement First, Measurement Second);

/// <summary>Pairs that count, and how many did not because other processes were busy.</summary>
internal sealed record Pairs(IReadOnlyList<Pair> Quiet, int Dropped);

/// <summary>
/// Runs two sides in strict alternation. The machine is shared and drifts, so only neighbours in time are compared, and a pair in which other processes
/// used more than a tenth of a core is dropped and run again.
/// </summary>
/// <param name="wanted">Quiet pairs.</param>
/// <param name="allowLoad">Every pair counts: for development, never a result.</param>
/// <param name="report">Told about every pair.</param>
internal sealed class StrictPairs(int wanted, bool allowLoad, Action<string> report)
{
    internal const double MostOtherCores = 0.1;
    private const int AttemptsPerPair = 3;

    /// <summary>Runs pairs until enough were quiet.</summary>
    /// <param name="name">Of the row, for reports.</param>
    /// <param name="first">Runs the side that is compared with.</param>
    /// <param name="second">Runs the other side.</param>
    /// <exception cref="NoResultException">Too few were quiet.</exception>
    internal Pairs Run(string name, Func<Measurement> first, Func<Measurement> second)
    {
        var quiet = new List<Pair>();
        int dropped = 0;
        for (int attempt = 0; attempt < wanted * AttemptsPerPair && quiet.Count < wanted; attempt++)
        {
            Measurement a = first();
            if (IsLoud(a, name)) dropped++;
            else if (second() is var b && IsLoud(b, name)) dropped++;
            else quiet.Add(Told(name, quiet.Count + 1, a, b));
        }

        if (quiet.Count < wanted)
            throw new NoResultException($"{name}: no result, {quiet.Count} of {wanted} pairs were quiet and {dropped} were dropped because other processes were busy");
        return new Pairs(quiet, dropped);
    }

    private bool IsLoud(Measurement measurement, string name)
    {
        if (allowLoad || measurement.OtherCores <= MostOtherCores) return false;
        report($"{name}: dropped, other processes used {measurement.OtherCores:F2} cores");
        return true;
    }

    private Pair Told(string name, int number, Measurement a, Measurement b)
    {
        string times = a.End["median_ms"] is null ? "" : $"{a.MedianMilliseconds:F1} ms and {b.MedianMilliseconds:F1} ms, {a.MedianMilliseconds / b.MedianMilliseconds:F3}; ";
        report($"{name}, pair {number}: {times}others {a.OtherCores:F2} and {b.OtherCores:F2} cores");
        return new Pair(a, b);
    }
}
