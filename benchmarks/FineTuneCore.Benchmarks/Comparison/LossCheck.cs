namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>Two runs are compared in speed only if they computed the same: the losses of every step agree.</summary>
internal static class LossCheck
{
    internal const double Fp32Tolerance = 1e-3;
    internal const double Bf16Tolerance = 1e-2;

    /// <summary>fp32 losses against those the step was defined with.</summary>
    internal static void AgainstTable(string name, IReadOnlyList<double> losses)
    {
        foreach ((int step, double expected) in LoraStep.ExpectedLosses)
            if (step < losses.Count) Agree(name, step, losses[step], expected, Fp32Tolerance);
    }

    /// <summary>Losses of every step against those of another run.</summary>
    /// <exception cref="NoResultException">They differ by more than the tolerance.</exception>
    internal static void Against(string name, IReadOnlyList<double> losses, IReadOnlyList<double> expected, double tolerance)
    {
        if (losses.Count != expected.Count) throw new NoResultException($"{name}: no result, {losses.Count} steps against {expected.Count}");
        for (int step = 0; step < losses.Count; step++) Agree(name, step, losses[step], expected[step], tolerance);
    }

    private static void Agree(string name, int step, double loss, double expected, double tolerance)
    {
        // Not "greater than": a NaN agrees with nothing.
        if (!(Math.Abs(loss - expected) <= tolerance))
            throw new NoResultException($"{name}: no result, the loss of step {step} is {loss:F4}, expected {expected:F4} within {tolerance:G1}");
    }
}
