namespace FineTuneCore.Benchmarks;

/// <summary>Times one call of either side the same way.</summary>
/// <remarks>
/// On a shared machine somebody else may run on the other half of a core, for milliseconds or for minutes, and slow it by up to a half, which no count of
/// processor time shows. So a time is that of short pieces, the one which a quarter of them keeps below: what the call takes while the core is its own,
/// as long as that is so for a quarter of the time.
/// </remarks>
internal static class RateTimer
{
    private const int Rounds = 3;
    private const double PieceSeconds = 1e-3;

    /// <summary>
    /// Milliseconds of one call: one call ahead, then the lower quartile of pieces of at least a millisecond, or one call, each, for
    /// <paramref name="seconds"/> or longer. With one thread it is processor time of the calling thread, which does all the work then, otherwise wall time.
    /// </summary>
    internal static double Milliseconds(int threads, double seconds, Action call) => Milliseconds(threads, seconds, [call]).Single();

    /// <summary>
    /// The same of calls that are held against one another: their rounds alternate, so that a machine whose pace changes is the same one for each, and for
    /// what <paramref name="beforeRound"/> looks at.
    /// </summary>
    internal static double[] Milliseconds(int threads, double seconds, IReadOnlyList<Action> calls, Action? beforeRound = null)
    {
        var pieces = calls.Select(_ => new List<double>()).ToArray();
        for (int round = 0; round < Rounds; round++)
        {
            beforeRound?.Invoke();
            for (int i = 0; i < calls.Count; i++)
            {
                // The others' rounds have taken this one's numbers out of the caches.
                if (round == 0 || calls.Count > 1) calls[i]();
                Round(pieces[i], threads, seconds / Rounds, calls[i]);
            }
        }

        return [.. pieces.Select(Statistics.LowerQuartile)];
    }

    private static void Round(List<double> pieces, int threads, double seconds, Action call)
    {
        double begin = Now(threads), start = begin;
        int calls = 1; // in a piece: as many as the last one says
        do
        {
            for (int i = 0; i < calls; i++) call();
            double end = Now(threads), each = (end - start) / calls;
            bool whole = end - start >= PieceSeconds;
            if (whole) pieces.Add(each * 1e3);
            else calls = Math.Max(calls + 1, (int)(PieceSeconds / Math.Max(each, 1e-7)) + 1);
            start = end;
        }
        while (start - begin < seconds || pieces.Count == 0);
    }

    private static double Now(int threads) => threads == 1 ? Clock.Thread : Clock.Wall;
}
