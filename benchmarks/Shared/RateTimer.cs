namespace FineTuneCore.Benchmarks;

/// <summary>Times one call of either side the same way.</summary>
internal static class RateTimer
{
    private const int Rounds = 3;

    /// <summary>
    /// Milliseconds of one call: one call ahead, then the median of three rounds of at least a third of <paramref name="seconds"/> each. With one thread it is
    /// processor time of the calling thread, which does all the work then, otherwise wall time.
    /// </summary>
    internal static double Milliseconds(int threads, double seconds, Action call)
    {
        call();
        var rounds = new List<double>();
        for (int round = 0; round < Rounds; round++)
        {
            int calls = 0;
            double start = Now(threads), passed;
            do
            {
                call();
                calls++;
                passed = Now(threads) - start;
            }
            while (passed < seconds / Rounds);
            rounds.Add(passed / calls * 1e3);
        }

        return Statistics.Median(rounds);
    }

    private static double Now(int threads) => threads == 1 ? Clock.Thread : Clock.Wall;
}
