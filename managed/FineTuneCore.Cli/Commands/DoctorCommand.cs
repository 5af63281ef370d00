using System.CommandLine;
using System.Runtime.InteropServices;
using FineTuneCore.Backends;
using FineTuneCore.Native;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc doctor</c>: what this machine offers and whether everything that is needed works.</summary>
internal static class DoctorCommand
{
    public static Command Create()
    {
        var command = new Command("doctor", "Shows library, CPU, memory and disk, and runs a small check of each.");
        command.SetAction(_ => Run());
        return command;
    }

    private static int Run()
    {
        bool well = true;
        Line("ftc", $"{typeof(DoctorCommand).Assembly.GetName().Version!.ToString(3)}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}");
        try
        {
            NativeLibraryLoader.Use(NativeLibraryKind.Cpu);
            Line("native library", $"{NativeLibraryLoader.Version} from {NativeLibraryLoader.LoadedFrom}");
            using var backend = new NativeBackend();
            DeviceInfo info = backend.Info;
            Line("device", $"{info.Kind}: {info.Name}");
            string forced = Environment.GetEnvironmentVariable("FTC_CPU_ISA") is { Length: > 0 } isa ? $" (forced by FTC_CPU_ISA={isa})" : "";
            Line("instruction set", info.Isa + forced);
            Line("precision", $"fp32; --precision bf16 {Device.Bf16On(info.Isa)}");
            Line("threads", $"{info.Threads} of {Environment.ProcessorCount} processors");
            Line("memory", $"{Gigabytes(info.MemoryAvailableBytes)} free of {Gigabytes(info.MemoryTotalBytes)}");
            using DeviceBuffer buffer = backend.Allocate(4 << 20, "a check");
            Line("allocation", "4 MB allocated and zeroed");
        }
        catch (Exception e) when (e is DllNotFoundException or FtcException or FineTuneException or EntryPointNotFoundException)
        {
            Line("native library", $"NOT WORKING: {e.Message}");
            well = false;
        }

        DescribeCuda();
        DescribeOpenCl();
        well &= CheckDisk();
        Console.Out.WriteLine(well ? "all well" : "something is missing, see above");
        return well ? ExitCodes.Ok : ExitCodes.Failed;
    }

    /// <summary>What CUDA needs: our library, a driver, a GPU. Its lack is no fault: everything runs on the CPU too.</summary>
    private static void DescribeCuda()
    {
        CudaProbe probe = CudaProbe.Result;
        if (probe.Path is not null) Line("CUDA library", $"{probe.Version} from {probe.Path}");
        if (probe.Problem is { } problem)
        {
            Line("CUDA", $"not available: {problem.TrimEnd('.')}. Training runs on the CPU.");
            return;
        }

        foreach (CudaDevice gpu in probe.Devices())
        {
            Line($"cuda:{gpu.Index}", gpu.Problem is { } refused ? $"CANNOT BE USED: {refused}"
                : $"{gpu.Name}, {gpu.Isa}, {Gigabytes(gpu.MemoryAvailableBytes)} free of {Gigabytes(gpu.MemoryTotalBytes)}, {gpu.MemoryOverheadBytes / 1e6:F0} MB taken by the driver for a process");
        }
    }

    /// <summary>Other makers' GPUs. Their lack is no fault either.</summary>
    private static void DescribeOpenCl()
    {
        IReadOnlyList<FoundDevice> devices = OpenCl.FindProvider()?.Devices() ?? [];
        if (devices.Count == 0) Line("OpenCL", "no device found; GPUs that are not NVIDIA's need their driver's OpenCL (libOpenCL.so.1)");
        foreach (FoundDevice device in devices)
        {
            if (device.Problem is { } refused) Line("OpenCL", $"{device.Name}: not used: {refused}");
            else Line($"opencl:{device.Index}", $"{device.Name}, {Gigabytes(device.MemoryBytes)}");
        }
    }

    private static bool CheckDisk()
    {
        string directory = Directory.GetCurrentDirectory();
        string probe = Path.Combine(directory, $".ftc-doctor-{Environment.ProcessId}");
        try
        {
            File.WriteAllText(probe, "write test");
            File.Delete(probe);
            Line("disk", $"{Gigabytes(new DriveInfo(directory).AvailableFreeSpace)} free in {directory}, writable");
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Line("disk", $"NOT WRITABLE: {directory}: {e.Message}");
            return false;
        }
    }

    private static string Gigabytes(long bytes) => $"{bytes / 1e9:F1} GB";

    private static void Line(string what, string found) => Console.Out.WriteLine($"{what,-16} {found}");
}
