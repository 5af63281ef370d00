using FineTuneCore.Tests;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>What is said where CUDA, a driver, a GPU or its memory is missing, and what doctor shows.</summary>
public sealed class CudaErrorTests
{
    private static string[] Generate(params string[] more) =>
        ["generate", "--model", TestData.Path("models", "stories260K"), "--prompt", "Once", "--max-tokens", "2", .. more];

    [Fact]
    public void DoctorShowsEachGpu()
    {
        FtcProcess.Result doctor = CudaLibrary.Run(["doctor"]);
        doctor.ExitCode.Should().Be(0, doctor.Error);
        doctor.Output.Should().MatchRegex("CUDA library +0\\.3\\.0 from .*\\.so").And.MatchRegex("cuda:0 +\\S.*, sm_[0-9]+, [0-9.]+ GB free of [0-9.]+ GB").And.Contain("all well");
        doctor.Output.Should().Contain("device           cpu: ", "asking must not make the CUDA library the one in use");
    }

    [Fact]
    public void DoctorSaysWhatIsMissing()
    {
        FtcProcess.Result doctor = CudaLibrary.RunWith("/nowhere/libftc_cuda.so", "doctor");
        doctor.ExitCode.Should().Be(0, "a machine without a GPU is well");
        doctor.Output.Should().Contain("CUDA             not available").And.Contain("/nowhere/libftc_cuda.so (no such file)").And.Contain("Training runs on the CPU");
    }

    [Fact]
    public void WithoutADriverTheLibraryLoadsAndSaysSo()
    {
        string library = CudaLibrary.ForGpus();
        FtcProcess.Result doctor = CudaLibrary.RunWith(library, "doctor");
        Assert.SkipWhen(doctor.Output.Contains("cuda:0", StringComparison.Ordinal), "this machine has a GPU");
        doctor.ExitCode.Should().Be(0, doctor.Error);
        doctor.Output.Should().MatchRegex("CUDA library +0\\.3\\.0 from .*libftc_cuda\\.so").And.Contain("driver").And.Contain("Training runs on the CPU");
        BadInput.Failed(CudaLibrary.RunWith(library, Generate("--device", "cuda")), 1, "--device cuda:0", "driver");
        CudaLibrary.RunWith(library, Generate()).ExitCode.Should().Be(0, "auto takes the CPU");
    }

    [Fact]
    public void NoLibraryIsNamedWithTheRemedy() => BadInput.Failed(
        CudaLibrary.RunWith("/nowhere/libftc_cuda.so", Generate("--device", "cuda")), 1, "--device cuda:0", "/nowhere/libftc_cuda.so (no such file)", "FTC_CUDA=ON ./build.sh native");

    [Fact]
    public void AGpuThatIsNotThere()
    {
        Assert.SkipUnless(CudaLibrary.IsSimulator, "how many GPUs this machine has is not known here");
        BadInput.Failed(CudaLibrary.Run(Generate("--device", "cuda:7")), 2, "--device cuda:7", "one GPU, cuda:0", "ftc doctor");
    }

    [Theory]
    [InlineData("--device", "gpu", "auto, cpu, cuda, cuda:N, opencl or opencl:N")]
    [InlineData("--device", "cuda:x", "auto, cpu, cuda, cuda:N, opencl or opencl:N")]
    [InlineData("--precision", "fp8", "auto, fp32 or bf16")]
    public void WordsThatAreNoDevice(string option, string value, string expected)
    {
        FtcProcess.Result result = FtcProcess.Run(Generate(option, value));
        result.ExitCode.Should().Be(2);
        result.Error.Should().Contain($"{option} is '{value}'").And.Contain(expected);
        result = FtcProcess.Run("train", option, value, "--print-config");
        result.ExitCode.Should().Be(2);
        result.Error.Should().Contain(value).And.Contain(expected);
    }

    [Fact]
    public void AForcedLibraryOfTheOtherKind() => BadInput.Failed(
        FtcProcess.Run(Generate("--device", "cuda"), new Dictionary<string, string> { ["FTC_LIBRARY_PATH"] = CpuLibrary() }), 2, "--device cuda:0", "FTC_LIBRARY_PATH", "cpu");

    [Fact]
    public void AutoTakesTheGpuAndSaysSo()
    {
        using var run = new CudaRun();
        FtcProcess.Result auto = CudaLibrary.Run(["inspect", "model", run.Model, "--sequence-length", "64"]);
        auto.ExitCode.Should().Be(0, auto.Error);
        auto.Output.Should().Contain("memory to train on cuda:0 in bf16").And.Contain("full bf16");
    }

    [Fact]
    public void APlanThatDoesNotFitTheGpuIsRefusedBeforeItIsAllocated()
    {
        Assert.SkipUnless(CudaLibrary.IsSimulator, "a GPU's memory cannot be made small");
        using var run = new CudaRun();
        string[] arguments = ["train", "--model", run.Model, "--data", run.Data, "--output", run.Place("run"), "--method", "full", "--device", "cuda", "--precision", "fp32"];
        BadInput.Failed(
            CudaLibrary.Run(arguments, ("FTC_SIM_MEMORY_MB", "8")), 4, "this run needs", "free on cuda:0", "--precision bf16", "--method lora or qlora");
        Directory.Exists(run.Place("run")).Should().BeFalse();
    }

    private static string CpuLibrary() =>
        Directory.EnumerateFiles(AppContext.BaseDirectory, "libftc.so", SearchOption.AllDirectories).FirstOrDefault()
        ?? throw new FileNotFoundException("libftc.so is not beside the tests");
}
