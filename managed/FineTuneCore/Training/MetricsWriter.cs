using System.Buffers;
using System.Text.Json;

namespace FineTuneCore.Training;

/// <summary>Appends one JSON object a line to metrics.jsonl; its buffer is reused, so a line allocates nothing that grows.</summary>
internal sealed class MetricsWriter : IDisposable
{
    private readonly FileStream _stream;
    private readonly ArrayBufferWriter<byte> _buffer = new(512);
    private readonly Utf8JsonWriter _json;

    internal MetricsWriter(string directory)
    {
        // 1 byte of buffer: every line reaches the file at once, and a kill loses at most the last one.
        _stream = new FileStream(Path.Combine(directory, RunDirectory.MetricsName), FileMode.Append, FileAccess.Write, FileShare.Read, 1);
        _json = new Utf8JsonWriter(_buffer);
    }

    internal void Step(StepCompleted e)
    {
        Begin(e.Step);
        _json.WriteNumber("loss"u8, Finite(e.Loss));
        _json.WriteNumber("learning_rate"u8, e.LearningRate);
        _json.WriteNumber("grad_norm"u8, Finite(e.GradientNorm));
        _json.WriteNumber("tokens_per_second"u8, Math.Round(e.TokensPerSecond, 1));
        _json.WriteNumber("trained_tokens"u8, e.TrainedTokens);
        _json.WriteNumber("elapsed_seconds"u8, Math.Round(e.ElapsedSeconds, 3));
        if (e.Skipped) _json.WriteBoolean("skipped"u8, true);
        End();
    }

    internal void Evaluated(Evaluated e)
    {
        Begin(e.Step);
        _json.WriteNumber("eval_loss"u8, Finite(e.Loss));
        if (!double.IsNaN(e.TrainLoss)) _json.WriteNumber("train_loss"u8, e.TrainLoss);
        _json.WriteBoolean("best"u8, e.IsBest);
        End();
    }

    private void Begin(int step)
    {
        _buffer.ResetWrittenCount();
        _json.Reset(_buffer);
        _json.WriteStartObject();
        _json.WriteNumber("step"u8, step);
    }

    private void End()
    {
        _json.WriteEndObject();
        _json.Flush();
        _buffer.Write("\n"u8);
        _stream.Write(_buffer.WrittenSpan);
    }

    /// <summary>JSON has no NaN; a skipped step's loss is written as -1.</summary>
    private static double Finite(double value) => double.IsFinite(value) ? value : -1;

    public void Dispose()
    {
        _json.Dispose();
        _stream.Dispose();
    }
}

/// <summary>Reads metrics.jsonl back.</summary>
internal static class MetricsReader
{
    /// <summary>One line: a training step (Loss) or a validation (EvalLoss).</summary>
    internal readonly record struct Row(int Step, double? Loss, double? EvalLoss, double? LearningRate, double? GradientNorm, double? TokensPerSecond);

    /// <summary>The step a line is about, or -1 when it is not a whole line.</summary>
    internal static int StepOf(string line) => Parse(line)?.Step ?? -1;

    internal static IReadOnlyList<Row> Read(string directory)
    {
        string path = Path.Combine(directory, RunDirectory.MetricsName);
        return File.Exists(path) ? [.. Lines(path).Select(Parse).OfType<Row>()] : [];
    }

    /// <summary>Lines of a file that a run may be writing: Windows refuses readers that do not allow for a writer.</summary>
    internal static IEnumerable<string> Lines(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        while (reader.ReadLine() is { } line) yield return line;
    }

    private static Row? Parse(string line)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            double? Value(string key) => root.TryGetProperty(key, out JsonElement v) ? v.GetDouble() : null;
            return new Row(root.GetProperty("step").GetInt32(), Value("loss"), Value("eval_loss"), Value("learning_rate"), Value("grad_norm"), Value("tokens_per_second"));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return null;
        }
    }
}
