using System.Text;
using System.Text.Json;
using FineTuneCore.Training;

namespace FineTuneCore.Cli.Output;

/// <summary>One JSON object a line on standard output: {"event": …, …}.</summary>
internal sealed class JsonDisplay(TextWriter output) : IRunDisplay
{
    public void Report(TrainingEvent value)
    {
        switch (value)
        {
            case RunStarted { Plan: var plan }:
                Write("started", json =>
                {
                    json.WriteString("model", plan.Model);
                    json.WriteString("method", plan.Method);
                    json.WriteNumber("parameters", plan.Parameters);
                    json.WriteNumber("trainable_parameters", plan.TrainableParameters);
                    json.WriteNumber("train_samples", plan.TrainSamples);
                    json.WriteNumber("validation_samples", plan.ValidationSamples);
                    json.WriteNumber("steps", plan.Steps);
                    json.WriteNumber("steps_done", plan.StepsDone);
                    json.WriteNumber("memory_bytes", plan.Memory.Sum(m => m.Bytes));
                    json.WriteString("device", plan.Device);
                    json.WriteString("output", plan.Output);
                    json.WriteStartArray("chosen");
                    foreach (string choice in plan.Choices) json.WriteStringValue(choice);
                    json.WriteEndArray();
                });
                break;
            case StepCompleted s:
                Write("step", json =>
                {
                    json.WriteNumber("step", s.Step);
                    Number(json, "loss", s.Loss);
                    json.WriteNumber("learning_rate", s.LearningRate);
                    Number(json, "grad_norm", s.GradientNorm);
                    json.WriteNumber("tokens_per_second", Math.Round(s.TokensPerSecond, 1));
                    json.WriteNumber("remaining_seconds", Math.Round(s.RemainingSeconds, 1));
                    if (s.Skipped) json.WriteBoolean("skipped", true);
                });
                break;
            case Evaluated e:
                Write("evaluated", json =>
                {
                    json.WriteNumber("step", e.Step);
                    Number(json, "loss", e.Loss);
                    json.WriteBoolean("best", e.IsBest);
                });
                break;
            case CheckpointSaved saved:
                Write("checkpoint", json =>
                {
                    json.WriteNumber("step", saved.Step);
                    json.WriteString("path", saved.Path);
                });
                break;
            case RunProfiled { Profile: var profile }:
                Write("profiled", json =>
                {
                    json.WriteNumber("seconds", profile.Seconds);
                    if (profile.ShareOfPeak is { } share) json.WriteNumber("share_of_peak", Math.Round(share, 4));
                    json.WriteStartArray("ops");
                    foreach (ProfiledOp op in profile.Ops)
                    {
                        json.WriteStartObject();
                        json.WriteString("op", op.Op);
                        json.WriteNumber("calls", op.Calls);
                        json.WriteNumber("seconds", op.Seconds);
                        json.WriteNumber("operations", op.Operations);
                        json.WriteNumber("bytes", op.Bytes);
                        json.WriteEndObject();
                    }

                    json.WriteEndArray();
                });
                break;
            case RunNotice notice:
                Notice(notice.Message);
                break;
        }
    }

    public void Notice(string message) => Write("notice", json => json.WriteString("message", message));

    public void Finished(FineTuneResult result) => Write(result.Cancelled ? "cancelled" : "completed", json =>
    {
        json.WriteString("output", result.Output);
        json.WriteString("path", result.ModelPath);
        json.WriteNumber("steps", result.Steps);
        json.WriteNumber("saved_step", result.BestStep);
        if (result.InitialValidationLoss is { } before) json.WriteNumber("initial_validation_loss", before);
        if (result.FinalValidationLoss is { } after) json.WriteNumber("final_validation_loss", after);
        Number(json, "final_train_loss", result.FinalTrainLoss);
        json.WriteNumber("seconds", Math.Round(result.Seconds, 3));
        json.WriteNumber("tokens_per_second", Math.Round(result.TokensPerSecond, 1));
        if (result.DeviceMemory is { } memory) json.WriteNumber("device_memory_bytes", memory);
        if (result.ResumeCommand is { } resume) json.WriteString("resume", resume);
    });

    private void Write(string kind, Action<Utf8JsonWriter> members)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("event", kind);
            members(json);
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
        output.Flush();
    }

    /// <summary>JSON has no NaN: null.</summary>
    private static void Number(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value)) json.WriteNumber(name, value);
        else json.WriteNull(name);
    }

    public void Dispose() => output.Flush();
}
