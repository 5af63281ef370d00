namespace FineTuneCore.Data;

/// <summary>Which samples train and which validate.</summary>
/// <param name="Training">Sample numbers in order.</param>
/// <param name="Validation">Sample numbers in order.</param>
internal sealed record DataSplit(IReadOnlyList<int> Training, IReadOnlyList<int> Validation)
{
    /// <summary>Holds back a share of the samples, chosen by the seed alone; at least one stays on each side where there are two or more.</summary>
    /// <param name="count">Number of samples.</param>
    /// <param name="fraction">Share for validation, 0 to below 1; 0 holds back none.</param>
    /// <param name="seed">Any number.</param>
    public static DataSplit Create(int count, double fraction, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (fraction is not (>= 0 and < 1))
            throw new ArgumentOutOfRangeException(nameof(fraction), fraction, "the share for validation is from 0 to below 1");
        int held = fraction == 0 || count < 2 ? 0 : Math.Clamp((int)Math.Round(count * fraction), 1, count - 1);
        int[] order = Shuffle.Order(count, seed);
        return new DataSplit([.. order[held..].Order()], [.. order[..held].Order()]);
    }
}
