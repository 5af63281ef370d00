using System.Diagnostics;
using FineTuneCore.Kernels;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Native.Tests.Kernels;

/// <summary>
/// The kernels over memory that is not ordinary memory: on the GPU library that FTC_CUDA_LIBRARY_PATH names, or on the one for the simulator. A process has
/// one library, so that this runs in a process of its own.
/// </summary>
public sealed class GpuMemoryTests
{
    [Fact]
    public void KernelsTakeMemoryOfAGpu()
    {
        string? library = Environment.GetEnvironmentVariable("FTC_CUDA_LIBRARY_PATH") ?? Simulator();
        const string Missing = "the CUDA library for the simulator was not built (./build.sh native builds it)";
        if (library is null && Environment.GetEnvironmentVariable("FTC_REQUIRE_CUDA") == "1") Assert.Fail($"FTC_REQUIRE_CUDA=1, but {Missing}");
        Assert.SkipWhen(library is null, Missing);
        string host = Environment.ProcessPath!; // dotnet, or this program where it brings its own runtime
        var start = new ProcessStartInfo(host) { RedirectStandardOutput = true, Environment = { ["FTC_CUDA_LIBRARY_PATH"] = library } };
        if (Path.GetFileNameWithoutExtension(host) == "dotnet") start.ArgumentList.Add(typeof(GpuMemoryTests).Assembly.Location);
        foreach (string argument in (string[])["-noLogo", "-noColor", "-explicit", "only", "-method", $"{typeof(GpuMemoryTests).FullName}.{nameof(LoraOverNormalFloat)}"])
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        process.ExitCode.Should().Be(0, output);
        output.Should().Contain("Total: 1, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0");
    }

    [Fact(Explicit = true)]
    public void LoraOverNormalFloat()
    {
        const int M = 5, N = 32, K = 64, Rank = 8;
        using Device device = Device.OpenCuda();
        using DeviceStream stream = device.CreateStream();
        using var workspace = new Workspace(stream);
        (device.Kind, device.ReadsHostMemory).Should().Be(("cuda", false));
        using DeviceBuffer memory = device.Allocate(1 << 20);
        long used = 0;
        float[] x = Loops.Random(M * K, 1), weight = Loops.Random(N * K, 2), a = Loops.Random(Rank * K, 3), b = Loops.Random(N * Rank, 4);
        TensorView dx = Uploaded(x, M, K), dweight = Uploaded(weight, N, K), da = Uploaded(a, Rank, K), db = Uploaded(b, N, Rank), map = Uploaded(Nf4Tables.QuantMap, 1, 16);
        TensorView y = New(DType.F32, M, N), s = New(DType.F32, M, Rank), codes = New(DType.U8, 1, N * K / 2), absmax = New(DType.F32, 1, N * K / 64), dense = New(DType.F32, N, K);

        Nf4.Quantize(stream, codes, absmax, dweight);
        LinearWeight frozen = LinearWeight.Nf4(codes, absmax, N, K, map);
        Linear.Forward(stream, y, dx, frozen, workspace, new LoraAdapter { A = da, B = db, S = s, Scaling = 2 });
        Linear.Dequantize(stream, dense, frozen);

        float[] result = new float[M * N], matrix = new float[N * K];
        stream.Download(result.AsSpan(), y);
        stream.Download(matrix.AsSpan(), dense);
        double[] S = Loops.TimesTransposed(Loops.Doubles(x), Loops.Doubles(a), M, Rank, K);
        double[] expected = Loops.Sum(Loops.TimesTransposed(Loops.Doubles(x), Loops.Doubles(matrix), M, N, K), Loops.TimesTransposed(S, Loops.Doubles(b), M, N, Rank), 2);
        for (int i = 0; i < expected.Length; i++) ((double)result[i]).Should().BeApproximately(expected[i], 1e-4 * expected.Max(Math.Abs));

        var error = Assert.Throws<ArgumentException>(() => Swiglu.Forward(stream, new float[4], new float[4], new float[4]));
        error.Message.Should().StartWith("Swiglu.Forward: gate lies in ordinary memory, but ").And.Contain("copy it to a buffer of the device with DeviceStream.Upload");

        TensorView New(DType dtype, long rows, long columns)
        {
            TensorView view = memory.View(dtype, rows, columns, used);
            used += (rows * columns * 4 + 255) / 256 * 256;
            return view;
        }

        TensorView Uploaded(ReadOnlySpan<float> values, long rows, long columns)
        {
            TensorView view = New(DType.F32, rows, columns);
            stream.Upload(view, values);
            return view;
        }
    }

    private static string? Simulator()
    {
        string? root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "FineTuneCore.sln"))) root = Path.GetDirectoryName(root);
        string library = Path.Combine(root ?? "", "native", "build", "release", "libftc_cuda_sim.so");
        return File.Exists(library) ? library : null;
    }
}
