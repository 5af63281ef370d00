namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>Rounds that count, each with one run of every side, and how many did not because other processes were busy.</summary>
internal sealed record Pairs(IReadOnlyList<Measurement[]> Quiet, int Dropped)
{
    /// <summary>Ratios of a number of side a over that of side b, of each round.</summary>
    internal double[] Ratios(int a, int b, Func<Measurement, double> number) => [.. Quiet.Select(round => number(round[a]) / number(round[b]))];

    /// <summary>The highest peak of multiply-adds that a side measured: a neighbour may have slowed one of them.</summary>
    internal double Peak(int side) => Quiet.Max(round => (double)round[side].Start["peak_gflops"]!);

    internal double Median(int side, Func<Measurement, double> number) => Statistics.Median(Quiet.Select(round => number(round[side])));
}

/// <summary>
/// Runs sides in strict alternation: peer, ours, peer, ours. The machine is shared and drifts, so only neighbours in time are compared, and a pair in
/// which other processes used more than a tenth of a core is dropped and run again.
/// </summary>
/// <param name="wanted">Quiet pairs.</param>
/// <param name="allowLoad">Every pair counts: for development, never a result.</param>
/// <param name="report">Told about every pair.</param>
internal sealed class StrictPairs(int wanted, bool allowLoad, Action<string> report)
{
    internal const double MostOtherCores = 0.1;
    private const int AttemptsPerPair = 3;

    /// <summary>Runs pairs, or rounds of more sides, until enough were quiet.</summary>
    /// <param name="name">Of the row, for reports.</param>
    /// <param name="sides">Each runs one side once.</param>
    /// <exception cref="NoResultException">Too few were quiet.</exception>
    internal Pairs Run(string name, params IReadOnlyList<Func<Measurement>> sides)
    {
        var quiet = new List<Measurement[]>();
        int dropped = 0;
        for (int attempt = 0; attempt < wanted * AttemptsPerPair && quiet.Count < wanted; attempt++)
        {
            // The rest of a round is not run once one of its sides had company.
            Measurement[] round = [.. sides.Select(side => side()).TakeWhile(m => !IsLoud(name, m))];
            if (round.Length < sides.Count)
            {
                dropped++;
                continue;
            }

            quiet.Add(round);
            Tell(name, quiet.Count, round);
        }

        if (quiet.Count < wanted)
            throw new NoResultException($"{name}: no result, {quiet.Count} of {wanted} pairs were quiet and {dropped} were dropped because other processes were busy");
        return new Pairs(quiet, dropped);
    }

    private bool IsLoud(string name, Measurement measurement)
    {
        if (allowLoad || measurement.OtherCores <= MostOtherCores) return false;
        report($"{name}: dropped, other processes used {measurement.OtherCores:F2} cores");
        return true;
    }

    private void Tell(string name, int number, Measurement[] round)
    {
        string times = round[0].End["median_ms"] is null ? "" : $"{string.Join(", ", round.Select(m => $"{m.MedianMilliseconds:F1}"))} ms; ";
        report($"{name}, pair {number}: {times}others {string.Join(", ", round.Select(m => $"{m.OtherCores:F2}"))} cores");
    }
}
