namespace FineTuneCore.Data;

/// <summary>What happens to a sample of more tokens than the context length.</summary>
public enum OverflowPolicy
{
    /// <summary>It is an error that names the sample.</summary>
    Error,

    /// <summary>It loses its end.</summary>
    Truncate,

    /// <summary>It is left out.</summary>
    Drop,
}
