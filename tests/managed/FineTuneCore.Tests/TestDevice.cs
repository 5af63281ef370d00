using System.Runtime.CompilerServices;
using FineTuneCore.Backends;
using FineTuneCore.Native;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests;

/// <summary>
/// The device these tests run on: <c>FTC_DEVICE</c>, default cpu. Numbers are held to the same references in fp32 on each; what a test says about
/// the CPU alone it skips elsewhere.
/// </summary>
public sealed class TestDevice
{
    internal static string Name { get; } = Environment.GetEnvironmentVariable("FTC_DEVICE") is { Length: > 0 } forced ? forced : "cpu";

    internal static bool IsCpu => Name == "cpu";

#pragma warning disable CA2255 // The library must be chosen before the first test that calls it, whichever that is.
    [ModuleInitializer]
    internal static void Choose() => NativeLibraryLoader.Use(IsCpu ? NativeLibraryKind.Cpu : NativeLibraryKind.Cuda);
#pragma warning restore CA2255

    /// <summary>Skips a test that is about the CPU library.</summary>
    internal static void CpuOnly(string reason) => Assert.SkipUnless(IsCpu, reason);

    [Fact]
    public void TheForcedDeviceIsTheOneThatRuns()
    {
        using IBackend backend = Device.Open(Name, "fp32").Backend;
        backend.Info.Kind.Should().Be(IsCpu ? "cpu" : "cuda");
        NativeLibraryLoader.Kind.Should().Be(IsCpu ? NativeLibraryKind.Cpu : NativeLibraryKind.Cuda);
    }
}
