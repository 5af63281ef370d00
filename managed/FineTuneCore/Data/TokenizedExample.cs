namespace FineTuneCore.Data;

/// <summary>A sample as the trainer takes it.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="LossMask">For each token 1 where it is trained, else 0; the first token is never trained.</param>
/// <param name="Source">Where the sample is from.</param>
internal sealed record TokenizedExample(int[] Ids, byte[] LossMask, SourceLocation Source)
{
    /// <summary>Number of trained tokens.</summary>
    public int TrainedTokens => LossMask.AsSpan().Count((byte)1);
}
