using FineTuneCore.Data;
using FineTuneCore.Generation;
using FineTuneCore.Models;
using FineTuneCore.Training;

namespace FineTuneCore.Evaluation;

/// <summary>Scores of a dataset's trained tokens.</summary>
/// <param name="Loss">Mean negative log likelihood per trained token, in nats.</param>
/// <param name="Accuracy">Part of the trained tokens that were the model's most probable choice, 0 to 1.</param>
/// <param name="Samples">Samples scored.</param>
/// <param name="Tokens">Tokens of these samples.</param>
/// <param name="TrainedTokens">Tokens that count.</param>
/// <param name="Data">What the dataset turned out to be.</param>
public sealed record EvaluationResult(double Loss, double Accuracy, int Samples, long Tokens, long TrainedTokens, string Data)
{
    /// <summary>exp of the loss.</summary>
    public double Perplexity => Math.Exp(Loss);
}

/// <summary>Scores data with a loaded model: the loss a training run would report, or the perplexity of a text.</summary>
public static class Evaluator
{
    private const int RowsPerPass = 4;

    /// <summary>Loss on the tokens that training would train: assistant turns, completions, whole texts.</summary>
    /// <exception cref="FineTuneException">The data is invalid or does not fit the context.</exception>
    public static EvaluationResult Loss(
        LanguageModel model, string data, int? sequenceLength = null, OverflowPolicy overflow = OverflowPolicy.Error, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        int length = Math.Min(sequenceLength ?? 1024, model.ContextLength);
        var encoder = new ExampleEncoder(model.Tokenizer, model.Template, new EncoderOptions { ContextLength = length, Overflow = overflow });
        TokenizedDataset samples = TokenizedDataset.Load([data], encoder, cancellation);
        int[][] rows = Packing.BestFitDecreasing([.. Enumerable.Range(0, samples.Count)], samples.LengthOf, length);
        var batches = new BatchSource(samples, rows, RowsPerPass, accumulationSteps: 1, seed: null);
        using var decoder = new Decoder(model.Weights, BufferMode.Inference, batches.MaxRows, length);
        (double sum, long right) = Score(decoder, batches, cancellation);
        return new EvaluationResult(
            sum / batches.TrainedTokens, (double)right / batches.TrainedTokens, samples.Count, batches.Tokens, batches.TrainedTokens, encoder.Report.ToString());
    }

    /// <summary>Perplexity of a text file.</summary>
    /// <param name="model">The model.</param>
    /// <param name="file">A UTF-8 text.</param>
    /// <param name="method">How the text is cut; figures of different methods are not comparable.</param>
    /// <param name="window">Tokens of a window, from 2 up to the context; null = min(1024, context).</param>
    /// <param name="stride">Tokens between windows for <see cref="PerplexityMethod.HuggingFace"/>; null = half a window.</param>
    /// <param name="cancellation">Ends between two windows.</param>
    /// <exception cref="FineTuneException">The text is too short, or window and stride do not fit.</exception>
    public static PerplexityResult Perplexity(
        LanguageModel model, string file, PerplexityMethod method, int? window = null, int? stride = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        int tokens = window ?? Math.Min(1024, model.ContextLength);
        if (tokens > model.ContextLength)
            throw FineTuneException.Usage($"window is {tokens}, but the model's context is {model.ContextLength}; choose up to that.");
        if (!File.Exists(file)) throw FineTuneException.Usage($"{file} is not a file; expected a UTF-8 text.");
        int[] ids = [.. model.Tokenizer.Encode(File.ReadAllText(file), addSpecialTokens: false).Ids];
        using var decoder = new Decoder(model.Weights, BufferMode.Inference, tokens, tokens);
        // Hugging Face's recipe has a BOS only where the tokenizer adds one; the other two put one before every window.
        int? bos = method == PerplexityMethod.HuggingFace && !model.Tokenizer.AddsBos ? null : model.Tokenizer.BosId;
        return Evaluation.Perplexity.Compute(decoder, ids, bos, method, tokens, stride ?? Math.Max(1, tokens / 2), cancellation);
    }

    private static (double Sum, long Right) Score(Decoder decoder, BatchSource batches, CancellationToken cancellation)
    {
        var nll = new float[decoder.MaxRows];
        var predictions = new int[decoder.MaxRows];
        double sum = 0;
        long right = 0;
        for (int m = 0; m < batches.MicroBatches; m++)
        {
            cancellation.ThrowIfCancellationRequested();
            TokenBatch batch = batches.Fill(m, 0);
            decoder.Evaluate(in batch, nll, predictions);
            for (int i = 0; i < batch.Rows; i++)
            {
                sum += nll[i];
                if (batch.Targets[i] >= 0 && predictions[i] == batch.Targets[i]) right++;
            }
        }

        return (sum, right);
    }
}
