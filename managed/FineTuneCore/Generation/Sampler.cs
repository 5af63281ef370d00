namespace FineTuneCore.Generation;

/// <summary>Chooses a token from logits: penalty, temperature, top-k, top-p, in that order; ties go to the lower id.</summary>
internal sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly int[] _order;
    private readonly double[] _probabilities;
    private readonly bool[] _seen;
    private SplitMix64 _random;

    internal Sampler(SamplingOptions options, int vocabSize)
    {
        options.Check();
        _options = options;
        _order = new int[vocabSize];
        _probabilities = new double[vocabSize];
        _seen = new bool[vocabSize];
        _random = new SplitMix64((ulong)options.Seed);
    }

    /// <summary>Marks a token as seen, for the repetition penalty.</summary>
    internal void Saw(int token) => _seen[token] = true;

    internal int Next(Span<float> logits)
    {
        if (_options.RepetitionPenalty != 1)
        {
            float penalty = (float)_options.RepetitionPenalty;
            for (int i = 0; i < logits.Length; i++)
                if (_seen[i]) logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
        }

        int next = _options.Temperature == 0 ? ArgMax(logits) : Sample(logits);
        Saw(next);
        return next;
    }

    private static int ArgMax(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int i = 1; i < logits.Length; i++)
            if (logits[i] > logits[best]) best = i;
        return best;
    }

    private int Sample(ReadOnlySpan<float> logits)
    {
        int n = logits.Length;
        for (int i = 0; i < n; i++)
        {
            _order[i] = i;
            _probabilities[i] = -logits[i]; // ascending sort puts the most probable first
        }

        Array.Sort(_probabilities, _order);
        int kept = _options.TopK > 0 ? Math.Min(_options.TopK, n) : n;
        double highest = -_probabilities[0], sum = 0;
        for (int i = 0; i < kept; i++) sum += _probabilities[i] = Math.Exp((-_probabilities[i] - highest) / _options.Temperature);

        double reach = sum * _options.TopP, mass = 0;
        int last = 0;
        for (; last < kept; last++)
        {
            mass += _probabilities[last];
            if (mass >= reach) break;
        }

        double at = _random.NextUnit() * mass;
        for (int i = 0; i < Math.Min(last + 1, kept); i++)
        {
            at -= _probabilities[i];
            if (at <= 0) return _order[i];
        }

        return _order[Math.Min(last, kept - 1)];
    }
}
