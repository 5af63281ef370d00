using FluentAssertions;
using Xunit;

namespace FineTuneCore.Native.Tests;

/// <summary>What somebody reads whose program finds no kernel library, or a wrong one.</summary>
public sealed class LibrarySearchTests
{
    [Fact]
    public void TheLibraryBesideTheProgramIsFound() =>
        LibrarySearch.Load(NativeLibraryKind.Cpu, null, AppContext.BaseDirectory).Path.Should().EndWith("runtimes/linux-x64/native/libftc.so");

    [Fact]
    public void AMissingLibraryIsReportedWithWhatWasTriedAndThePackageToAdd()
    {
        Action load = () => LibrarySearch.Load(NativeLibraryKind.Cuda, null, "/nowhere");
        load.Should().Throw<DllNotFoundException>().Which.Message.Should()
            .Contain("/nowhere/runtimes/linux-x64/native/libftc_cuda.so (no such file)").And.Contain("/nowhere/libftc_cuda.so (no such file)")
            .And.Contain("(the system's search path)").And.Contain("Add the package FineTuneCore.Runtime.Cuda").And.Contain("FTC_CUDA_LIBRARY_PATH");
    }

    [Fact]
    public void AForcedFileIsTheOnlyOneTried()
    {
        Action load = () => LibrarySearch.Load(NativeLibraryKind.Cpu, "/nowhere/libftc.so", AppContext.BaseDirectory);
        load.Should().Throw<DllNotFoundException>().Which.Message.Should().Contain("Tried: /nowhere/libftc.so (no such file). Add the package FineTuneCore.Runtime.Cpu").And.Contain("FTC_LIBRARY_PATH");
    }

    [Fact]
    public void AnotherLibraryIsNotTakenForOurs()
    {
        Action load = () => LibrarySearch.Load(NativeLibraryKind.Cpu, "libc.so.6", AppContext.BaseDirectory);
        load.Should().Throw<DllNotFoundException>().Which.Message.Should().Contain("libc.so.6");
        string system = new[] { "/lib/x86_64-linux-gnu/libm.so.6", "/usr/lib64/libm.so.6" }.First(File.Exists);
        load = () => LibrarySearch.Load(NativeLibraryKind.Cpu, system, AppContext.BaseDirectory);
        load.Should().Throw<DllNotFoundException>().Which.Message.Should().Contain($"{system} (exports no ftc_version, so it is no library of FineTuneCore)");
    }

    [Fact]
    public void ALibraryOfAnotherVersionIsRefusedWithThePackageToChange()
    {
        Action check = () => LibrarySearch.CheckVersion(4_002, NativeLibraryKind.Cuda, "/somewhere/libftc_cuda.so");
        check.Should().Throw<DllNotFoundException>().Which.Message.Should()
            .StartWith("/somewhere/libftc_cuda.so is version 0.4.2 of the kernel library, expected 0.3.x; reference FineTuneCore.Runtime.Cuda in the version of FineTuneCore.Native");
        LibrarySearch.CheckVersion(3_009, NativeLibraryKind.Cuda, "/somewhere/libftc_cuda.so"); // a patch changes no struct
    }
}
