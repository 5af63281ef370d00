namespace FineTuneCore.Benchmarks;

/// <summary>Runs and times the steps of either side the same way, and prints them as JSON lines.</summary>
internal static class StepTimer
{
    /// <summary>
    /// Runs warm-up and timed steps. <paramref name="step"/> does one whole step and gives its loss; the process <paramref name="neighbour"/>, if not 0,
    /// is busy on purpose.
    /// </summary>
    internal static void Run(int warmup, int steps, int neighbour, Func<int, double> step)
    {
        var milliseconds = new List<double>();
        var meter = new LoadMeter(neighbour);
        LoadMeter? timed = null;
        double firstStep = 0;
        for (int s = 0; s < warmup + steps; s++)
        {
            if (s == warmup) timed = new LoadMeter(neighbour);
            meter.Look();
            double loss = step(s);
            LoadMeter.Interval passed = meter.Look();
            if (s == 0) firstStep = Machine.SecondsSinceStart;
            if (s >= warmup) milliseconds.Add(passed.Seconds * 1e3);
            JsonLines.Write(
                "step", ("step", s), ("timed", s >= warmup), ("loss", Math.Round(loss, 6)), ("ms", Math.Round(passed.Seconds * 1e3, 2)),
                ("cpu_ms", Math.Round(passed.OwnSeconds * 1e3, 2)), ("other_cores", Math.Round(passed.OtherCores, 3)));
        }

        LoadMeter.Interval all = timed!.Look();
        double median = Statistics.Median(milliseconds);
        JsonLines.Write(
            "end", ("median_ms", Math.Round(median, 2)), ("tokens_per_s", Math.Round(LoraStep.Tokens / median * 1e3, 1)),
            ("cpu_ms", Math.Round(all.OwnSeconds * 1e3 / steps, 2)), ("other_cores", Math.Round(all.OtherCores, 3)),
            ("first_step_s", Math.Round(firstStep, 3)), ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }
}
