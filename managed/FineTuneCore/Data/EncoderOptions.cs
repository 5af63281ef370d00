namespace FineTuneCore.Data;

/// <summary>How examples become tokens.</summary>
internal sealed record EncoderOptions
{
    /// <summary>Most tokens of a sample; from 2.</summary>
    public required int ContextLength { get; init; }

    /// <summary>What happens to longer samples. Default: an error.</summary>
    public OverflowPolicy Overflow { get; init; } = OverflowPolicy.Error;

    /// <summary>Which tokens that end a turn are trained. Default: those of trained turns.</summary>
    public TrainOnEos TrainOnEos { get; init; } = TrainOnEos.Turn;

    /// <summary>What strftime_now answers in templates; default is the clock when the encoder was made.</summary>
    public DateTimeOffset? Now { get; init; }
}
