using FineTuneCore.Native;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Cli;

/// <summary>The documented exit codes and which failure ends in which.</summary>
internal static class ExitCodes
{
    internal const int Ok = 0;
    internal const int Failed = 1;
    internal const int Usage = 2;
    internal const int DataInvalid = 3;
    internal const int DoesNotFit = 4;
    internal const int Cancelled = 130;

    /// <summary>The code of an error meant for the user; null for anything else, which is a defect.</summary>
    internal static int? Of(Exception e) => e switch
    {
        FineTuneException { Kind: FailureKind.Usage } => Usage,
        FineTuneException { Kind: FailureKind.DataInvalid } => DataInvalid,
        FineTuneException { Kind: FailureKind.DoesNotFit } => DoesNotFit,
        FineTuneException or TokenizationException or ChatTemplateException => Failed,
        FtcException { Status: FtcStatus.OutOfMemory } => DoesNotFit,
        FtcException or DllNotFoundException or IOException or UnauthorizedAccessException => Failed,
        OperationCanceledException => Cancelled,
        _ => null,
    };
}
