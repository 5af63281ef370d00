using FineTuneCore.Training;

namespace FineTuneCore.Cli.Output;

/// <summary>The profile of a run as a table: arithmetic against the peak of multiply-adds, the rest against a plain copy.</summary>
internal static class ProfileText
{
    internal static IEnumerable<string> Lines(StepProfile profile)
    {
        string peak = profile.PeakFlopsPerSecond is { } flops ? $"peak {flops / 1e9:F0} GFLOP/s, " : "";
        yield return $"profile {profile.Steps} steps of {profile.Tokens / profile.Steps:N0} tokens, {1e3 * profile.Seconds / profile.Steps:F1} ms each · {peak}copy {profile.CopyBytesPerSecond / 1e9:F0} GB/s";
        yield return $"{"op",-34} {"calls",6} {"ms/step",9} {"time",6} {"rate",12} {"of peak",8}";
        foreach (ProfiledOp op in profile.Ops) yield return Line(profile, op);
        double operations = profile.Ops.Sum(o => o.Operations);
        yield return Row("whole step", 1, profile.Seconds / profile.Steps, 1, Rate(operations, profile.Seconds, "GFLOP/s"), profile.ShareOfPeak);
    }

    private static string Line(StepProfile profile, ProfiledOp op)
    {
        bool computes = op.Operations > 0;
        string rate = computes ? Rate(op.Operations, op.Seconds, "GFLOP/s") : op.Bytes > 0 ? Rate(op.Bytes, op.Seconds, "GB/s") : "";
        double? share = computes ? profile.Share(op.Operations, op.Seconds) : op.Bytes > 0 ? op.Bytes / op.Seconds / profile.CopyBytesPerSecond : null;
        return Row(op.Op, op.Calls / profile.Steps, op.Seconds / profile.Steps, op.Seconds / profile.Seconds, rate, share);
    }

    private static string Row(string name, long calls, double seconds, double time, string rate, double? share) =>
        $"{name,-34} {calls,6} {1e3 * seconds,9:F2} {100 * time,4:F1} % {rate,12} {(share is { } s ? $"{100 * s:F0} %" : ""),8}";

    private static string Rate(double amount, double seconds, string unit) => seconds > 0 ? $"{amount / seconds / 1e9:F1} {unit}" : "";
}
