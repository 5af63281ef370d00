using FineTuneCore.Training;

namespace FineTuneCore.Cli.Output;

/// <summary>Plain lines: for files, pipes and terminals without colour. Steps are thinned to about fifty lines a run.</summary>
internal sealed class PlainDisplay(TextWriter output) : IRunDisplay
{
    private const int Lines = 50;
    private int _every = 1;
    private int _steps;

    public void Report(TrainingEvent value)
    {
        switch (value)
        {
            case RunStarted started:
                _steps = started.Plan.Steps;
                _every = Math.Max(1, _steps / Lines);
                foreach (string line in RunText.Header(started.Plan)) output.WriteLine(line);
                output.WriteLine($"{"step",8} {"loss",9} {"val",9} {"lr",9} {"|g|",8} {"tok/s",8} {"left",10}");
                break;
            case StepCompleted s when s.Step % _every == 0 || s.Step == 1 || s.Step == _steps:
                output.WriteLine($"{s.Step,8} {RunText.Loss(s.Loss),9} {"",9} {RunText.Rate(s.LearningRate),9} {RunText.Norm(s.GradientNorm),8} {s.TokensPerSecond,8:F0} {RunText.Duration(s.RemainingSeconds),10}");
                break;
            case Evaluated e:
                output.WriteLine($"{e.Step,8} {(double.IsNaN(e.TrainLoss) ? "" : RunText.Loss(e.TrainLoss)),9} {RunText.Loss(e.Loss),9}{(e.IsBest ? "  best" : "")}");
                break;
            case RunProfiled profiled:
                foreach (string line in ProfileText.Lines(profiled.Profile)) output.WriteLine(line);
                break;
            case RunNotice notice:
                Notice(notice.Message);
                break;
        }
    }

    public void Notice(string message) => output.WriteLine($"note    {message}");

    public void Finished(FineTuneResult result)
    {
        foreach (string line in RunText.Result(result)) output.WriteLine(line);
    }

    public void Dispose() => output.Flush();
}
