using FineTuneCore.Training;
using Spectre.Console;

namespace FineTuneCore.Cli.Output;

/// <summary>On a terminal: a header panel, a row per validation, and one status line that moves.</summary>
internal sealed class LiveDisplay(IAnsiConsole console) : IRunDisplay
{
    private const int RefreshMilliseconds = 100;
    private const int BarWidth = 24;
    private int _steps = 1;
    private long _lastRefresh;
    private bool _statusShown;

    public void Report(TrainingEvent value)
    {
        switch (value)
        {
            case RunStarted started:
                _steps = started.Plan.Steps;
                string[] lines = [.. RunText.Header(started.Plan)];
                console.Write(new Panel(new Text(string.Join('\n', lines.Skip(1)))).Header($" ftc train · {Markup.Escape(lines[0])} ").RoundedBorder());
                console.MarkupLine($"[grey]{"step",8} {"train",9} {"val",9}[/]");
                break;
            case StepCompleted step when Environment.TickCount64 - _lastRefresh >= RefreshMilliseconds || step.Step == _steps:
                _lastRefresh = Environment.TickCount64;
                Status(step);
                break;
            case Evaluated e:
                ClearStatus();
                console.MarkupLine($"{e.Step,8} {(double.IsNaN(e.TrainLoss) ? "" : RunText.Loss(e.TrainLoss)),9} {RunText.Loss(e.Loss),9} {(e.IsBest ? "[green]best[/]" : "")}");
                break;
            case RunProfiled profiled:
                ClearStatus();
                foreach (string line in ProfileText.Lines(profiled.Profile)) console.WriteLine(line);
                break;
            case RunNotice notice:
                Notice(notice.Message);
                break;
        }
    }

    public void Notice(string message)
    {
        ClearStatus();
        console.MarkupLine($"[yellow]note[/]     {Markup.Escape(message)}");
    }

    public void Finished(FineTuneResult result)
    {
        ClearStatus();
        foreach (string line in RunText.Result(result)) console.WriteLine(line);
    }

    private void Status(StepCompleted s)
    {
        int filled = (int)((long)BarWidth * s.Step / _steps);
        string bar = new string('━', filled) + new string('─', BarWidth - filled);
        string text = $"{bar} {s.Step}/{_steps} loss {RunText.Loss(s.Loss)} lr {RunText.Rate(s.LearningRate)} ‖g‖ {RunText.Norm(s.GradientNorm)} {s.TokensPerSecond:F0} tok/s, {RunText.Duration(s.RemainingSeconds)} left";
        int width = Math.Max(20, console.Profile.Width - 1);
        Console.Out.Write($"\r\u001b[K{(text.Length > width ? text[..width] : text)}");
        Console.Out.Flush();
        _statusShown = true;
    }

    private void ClearStatus()
    {
        if (!_statusShown) return;
        Console.Out.Write("\r\u001b[K");
        _statusShown = false;
    }

    public void Dispose() => ClearStatus();
}
