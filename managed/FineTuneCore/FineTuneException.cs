namespace FineTuneCore;

/// <summary>Why a run could not go on; the command line maps each kind to an exit code.</summary>
public enum FailureKind
{
    /// <summary>A file, model or adapter is unusable, or the run failed.</summary>
    Failed,

    /// <summary>An option or a combination of options is wrong.</summary>
    Usage,

    /// <summary>The training or evaluation data is invalid.</summary>
    DataInvalid,

    /// <summary>The plan needs more memory or disk than there is.</summary>
    DoesNotFit,
}

/// <summary>An error meant for the user: one paragraph that says where, what is, what was expected and what to do.</summary>
public class FineTuneException : Exception
{
    /// <summary>Creates the exception.</summary>
    public FineTuneException(FailureKind kind, string message, Exception? innerException = null)
        : base(message, innerException) => Kind = kind;

    /// <summary>What kind of failure this is.</summary>
    public FailureKind Kind { get; }

    internal static FineTuneException Failed(string message, Exception? inner = null) => new(FailureKind.Failed, message, inner);

    internal static FineTuneException Usage(string message) => new(FailureKind.Usage, message);

    internal static FineTuneException DoesNotFit(string message, Exception? inner = null) => new(FailureKind.DoesNotFit, message, inner);
}
