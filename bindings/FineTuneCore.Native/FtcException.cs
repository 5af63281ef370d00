namespace FineTuneCore.Native;

/// <summary>A call into the native library failed; the message is the library's own sentence.</summary>
public sealed class FtcException : Exception
{
    /// <summary>Creates the exception from a status and the library's sentence about it.</summary>
    public FtcException(FtcStatus status, string message)
        : base(message) => Status = status;

    /// <summary>The kind of failure.</summary>
    public FtcStatus Status { get; }
}
