namespace FineTuneCore.Backends;

/// <summary>What a backend runs on; byte counts are read when asked.</summary>
internal sealed record DeviceInfo(
    string Kind, string Name, string Isa, int Threads, long MemoryTotalBytes, long MemoryAvailableBytes, long MemoryUsedBytes,
    long HostMemoryUsedBytes, long MemoryOverheadBytes);
