using FineTuneCore.Models;

namespace FineTuneCore.Evaluation;

/// <summary>How a long text is cut for perplexity; figures of different methods are not comparable.</summary>
public enum PerplexityMethod
{
    /// <summary>Overlapping windows, only what is new in each is scored (Hugging Face's recipe); needs a stride.</summary>
    HuggingFace,

    /// <summary>Every window is BOS and the next window - 1 tokens; all are scored.</summary>
    Windows,

    /// <summary>Windows whose first token is replaced by BOS and whose second half is scored (llama-perplexity).</summary>
    LlamaCpp,
}

/// <summary>A perplexity and what it was computed from.</summary>
/// <param name="MeanNll">Mean negative log likelihood per scored token, in nats.</param>
/// <param name="ScoredTokens">Tokens that were predicted and counted.</param>
public sealed record PerplexityResult(double MeanNll, long ScoredTokens)
{
    /// <summary>exp of the mean negative log likelihood.</summary>
    public double Perplexity => Math.Exp(MeanNll);
}

/// <summary>Scores a token sequence longer than the context.</summary>
internal static class Perplexity
{
    /// <summary>Perplexity of ids (without BOS) under the method; window and stride in tokens.</summary>
    internal static PerplexityResult Compute(
        Decoder decoder, ReadOnlySpan<int> ids, int? bos, PerplexityMethod method, int window, int stride, CancellationToken cancellation = default)
    {
        if (window < 2) throw FineTuneException.Usage($"window is {window}, expected 2 or more tokens.");
        if (bos is null && method != PerplexityMethod.HuggingFace)
            throw FineTuneException.Usage($"the tokenizer has no BOS token, which --perplexity {method} puts before every window; use --perplexity hf.");
        var scorer = new Scorer(decoder, window);
        switch (method)
        {
            case PerplexityMethod.Windows:
                for (int at = 0; at < ids.Length; at += window - 1)
                    scorer.Score([bos!.Value, .. ids[at..Math.Min(at + window - 1, ids.Length)]], firstScored: 1, cancellation);
                break;
            case PerplexityMethod.LlamaCpp:
                int[] stream = [bos!.Value, .. ids];
                for (int at = 0; at + window <= stream.Length; at += window)
                    scorer.Score([bos.Value, .. stream[(at + 1)..(at + window)]], firstScored: window / 2 + 1, cancellation);
                break;
            default:
                if (stride < 1 || stride > window) throw FineTuneException.Usage($"stride is {stride}, expected 1 to the window ({window}).");
                int[] all = bos is null ? ids.ToArray() : [bos.Value, .. ids];
                for (int begin = 0, done = 0; begin < all.Length; begin += stride)
                {
                    int end = Math.Min(begin + window, all.Length);
                    scorer.Score(all[begin..end], firstScored: Math.Max(1, done - begin), cancellation);
                    done = end;
                    if (end == all.Length) break;
                }

                break;
        }

        if (scorer.Count == 0) throw FineTuneException.Usage($"the text has {ids.Length} tokens, too few for a window of {window}; choose a smaller --window.");
        return new PerplexityResult(scorer.Sum / scorer.Count, scorer.Count);
    }

    private sealed class Scorer(Decoder decoder, int window)
    {
        private readonly float[] _nll = new float[window];
        private readonly int[] _targets = new int[window];
        private readonly int[] _positions = [.. Enumerable.Range(0, window)];
        private readonly int[] _starts = new int[window];

        internal double Sum { get; private set; }

        internal long Count { get; private set; }

        /// <summary>Adds the negative log likelihoods of tokens firstScored … of one window.</summary>
        internal void Score(int[] ids, int firstScored, CancellationToken cancellation)
        {
            cancellation.ThrowIfCancellationRequested();
            if (firstScored >= ids.Length) return;
            for (int i = 0; i < ids.Length; i++) _targets[i] = i + 1 >= firstScored && i + 1 < ids.Length ? ids[i + 1] : -100;
            decoder.Evaluate(
                new TokenBatch { Rows = ids.Length, Ids = ids, Positions = _positions, Targets = _targets, SegmentStarts = _starts }, _nll);
            for (int i = firstScored - 1; i < ids.Length - 1; i++) Sum += _nll[i];
            Count += ids.Length - firstScored;
        }
    }
}
