namespace FineTuneCore.Native;

/// <summary>What a call into the native library answered; the numbers are those of <c>ftc.h</c> and are never reused.</summary>
public enum FtcStatus
{
    /// <summary>Accepted.</summary>
    Ok = 0,

    /// <summary>An argument is null, out of range or inconsistent.</summary>
    InvalidArgument = -1,

    /// <summary>Valid, but the loaded library does not have it.</summary>
    Unsupported = -2,

    /// <summary>Refused before anything was allocated.</summary>
    OutOfMemory = -3,

    /// <summary>The device failed; its context is dead.</summary>
    Device = -4,

    /// <summary>A defect of the native library.</summary>
    Internal = -5,
}
