namespace FineTuneCore.Generation;

/// <summary>How the next token is chosen.</summary>
public sealed record SamplingOptions
{
    /// <summary>0 takes the most probable token (greedy); otherwise logits are divided by it. Default 0.</summary>
    public double Temperature { get; init; }

    /// <summary>Only the k most probable tokens; 0 (default) = all.</summary>
    public int TopK { get; init; }

    /// <summary>Only the most probable tokens that together reach this probability, (0, 1]; 1 (default) = all.</summary>
    public double TopP { get; init; } = 1;

    /// <summary>Divides the logits of tokens already seen by this (multiplies where negative); 1 (default) = off.</summary>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>Most tokens to make; default 256.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>Seed of the sampler.</summary>
    public int Seed { get; init; }

    /// <summary>Texts that end the answer; they are not part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    internal void Check()
    {
        if (Temperature < 0 || !double.IsFinite(Temperature)) throw FineTuneException.Usage($"temperature is {Temperature}, expected 0 or more.");
        if (TopK < 0) throw FineTuneException.Usage($"top_k is {TopK}, expected 0 (all) or more.");
        if (TopP is not (> 0 and <= 1)) throw FineTuneException.Usage($"top_p is {TopP}, expected a number above 0 and up to 1.");
        if (RepetitionPenalty is not (> 0 and <= 10)) throw FineTuneException.Usage($"repetition_penalty is {RepetitionPenalty}, expected a number above 0 and up to 10.");
        if (MaxTokens < 1) throw FineTuneException.Usage($"max_tokens is {MaxTokens}, expected 1 or more.");
    }
}
