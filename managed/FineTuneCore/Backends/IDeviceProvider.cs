namespace FineTuneCore.Backends;

/// <summary>A device that an assembly of its own found.</summary>
/// <param name="Index">For <see cref="IDeviceProvider.Open"/>; -1 when it cannot be used.</param>
/// <param name="Name">As its driver gives it.</param>
/// <param name="MemoryBytes">In all.</param>
/// <param name="Problem">Why it cannot be used; null when it can.</param>
internal sealed record FoundDevice(int Index, string Name, long MemoryBytes, string? Problem);

/// <summary>Devices whose backend is an assembly of its own, loaded when one is asked for.</summary>
internal interface IDeviceProvider
{
    /// <summary>The devices there are, those that cannot be used with the reason.</summary>
    IReadOnlyList<FoundDevice> Devices();

    /// <summary>Opens a device.</summary>
    /// <exception cref="FineTuneException">There is no such device.</exception>
    IBackend Open(int index, long memoryLimitBytes);
}
