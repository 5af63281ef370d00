namespace FineTuneCore.Benchmarks;

/// <summary>Times one call of either side the same way.</summary>
internal static class RateTimer
{
    private const int Rounds = 3;

    /// <summary>
    /// Milliseconds of one call: one call ahead, then the median of three rounds of at least a third of <paramref name="seconds"/> each. With one thread it is
    /// processor time of the calling thread, which does all the work then, otherwise wall time.
    /// </summary>
    internal static double Milliseconds(int threads, double seconds, Action call) => Milliseconds(threads, seconds, [call]).Single();

    /// <summary>The same of calls that are held against one another: their rounds alternate, so that a machine whose pace changes is the same one for each.</summary>
    internal static double[] Milliseconds(int threads, double seconds, IReadOnlyList<Action> calls)
    {
        var rounds = calls.Select(_ => new List<double>()).ToArray();
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < calls.Count; i++)
            {
                // The others' rounds have taken this one's numbers out of the caches.
                if (round == 0 || calls.Count > 1) calls[i]();
                rounds[i].Add(Round(threads, seconds / Rounds, calls[i]));
            }
        }

        return [.. rounds.Select(Statistics.Median)];
    }

    private static double Round(int threads, double seconds, Action call)
    {
        int calls = 0;
        double start = Now(threads), passed;
        do
        {
            call();
            calls++;
            passed = Now(threads) - start;
        }
        while (passed < seconds);
        return passed / calls * 1e3;
    }

    private static double Now(int threads) => threads == 1 ? Clock.Thread : Clock.Wall;
}
