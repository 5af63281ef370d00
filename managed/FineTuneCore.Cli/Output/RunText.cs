using System.Globalization;
using FineTuneCore.Training;

namespace FineTuneCore.Cli.Output;

/// <summary>Words and numbers that the displays share.</summary>
internal static class RunText
{
    internal static IEnumerable<string> Header(RunPlan plan)
    {
        double share = 100.0 * plan.TrainableParameters / plan.Parameters;
        yield return $"{plan.Model} · {plan.Method} · {Count(plan.TrainableParameters)} trained of {Count(plan.Parameters)} ({share.ToString("0.##", CultureInfo.InvariantCulture)} %)";
        double trained = 100.0 * plan.TrainedTokensPerEpoch / plan.TokensPerEpoch;
        yield return $"data    {plan.TrainSamples:N0} train / {plan.ValidationSamples:N0} val · {Count(plan.TokensPerEpoch)} tokens an epoch, {trained:F0} % trained · packed {100 * plan.PackingEfficiency:F0} %";
        long bytes = plan.Memory.Sum(m => m.Bytes);
        yield return $"plan    {plan.Steps:N0} steps · {Bytes(bytes)} of {Bytes(plan.MemoryAvailable)} ({string.Join(", ", plan.Memory.Select(m => $"{m.Category} {Bytes(m.Bytes)}"))})";
        yield return $"device  {plan.Device}";
        yield return $"output  {plan.Output}";
        foreach (string choice in plan.Choices) yield return $"chosen  {choice}";
    }

    internal static IEnumerable<string> Result(FineTuneResult result)
    {
        if (result.Cancelled)
        {
            yield return $"stopped at step {result.Steps}; everything is in {result.ModelPath}";
            yield return $"continue with: {result.ResumeCommand}";
            yield break;
        }

        if (result is { InitialValidationLoss: { } before, FinalValidationLoss: { } after })
            yield return $"validation loss {Loss(before)} → {Loss(after)} (perplexity {Loss(Math.Exp(before))} → {Loss(Math.Exp(after))})";
        yield return $"{result.Steps:N0} steps in {Duration(result.Seconds)}, {result.TokensPerSecond:N0} tokens/s{(result.StoppedEarly ? ", stopped early: no improvement" : "")}";
        if (result.DeviceMemory is { } memory) yield return $"memory  {Bytes(memory)} of the GPU at most";
        yield return $"saved   {result.ModelPath}";
        yield return $"report  {Path.Combine(result.Output, "report.html")}";
        yield return $"try it  {ProgramName.Text} chat --model {result.Output}";
    }

    internal static string Loss(double loss) => loss.ToString("0.0000", CultureInfo.InvariantCulture);

    internal static string Rate(double rate) => rate.ToString("0.0e-0", CultureInfo.InvariantCulture);

    internal static string Norm(double norm) => norm.ToString("0.000", CultureInfo.InvariantCulture);

    internal static string Duration(double seconds)
    {
        if (!double.IsFinite(seconds)) return "?";
        TimeSpan time = TimeSpan.FromSeconds(Math.Max(0, seconds));
        return time.TotalHours >= 1 ? $"{(int)time.TotalHours} h {time.Minutes:00} m" : time.TotalMinutes >= 1 ? $"{time.Minutes} m {time.Seconds:00} s" : $"{time.TotalSeconds:F1} s";
    }

    internal static string Bytes(long bytes) => bytes >= 1e9 ? $"{bytes / 1e9:F1} GB" : $"{bytes / 1e6:F1} MB";

    private static string Count(long n) => n switch
    {
        >= 1_000_000_000 => $"{n / 1e9:F2} B",
        >= 1_000_000 => $"{n / 1e6:F1} M",
        >= 1_000 => $"{n / 1e3:F1} k",
        _ => n.ToString(CultureInfo.InvariantCulture),
    };
}
