namespace FineTuneCore.Data;

/// <summary>Data that cannot be trained on; the message names file, line and column, what is there, and what to do.</summary>
public sealed class DataException : FineTuneException
{
    /// <summary>Creates the exception with its one-paragraph message.</summary>
    public DataException(string message, Exception? innerException = null)
        : base(FailureKind.DataInvalid, message, innerException)
    {
    }
}
