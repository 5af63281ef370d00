using FineTuneCore.Native;

namespace FineTuneCore.Backends;

/// <summary>
/// The device and the precision a command works with: --device and --precision made definite. Everything else takes both from here.
/// </summary>
/// <param name="Name">cpu, cuda:N or opencl:N.</param>
/// <param name="Backend">Opened; whoever asked for the device disposes it.</param>
/// <param name="Precision">Of activations and weights.</param>
/// <param name="Choices">What was chosen for the user, one line each.</param>
internal sealed record Device(DeviceName Name, IBackend Backend, Precision Precision, IReadOnlyList<string> Choices)
{
    internal const string PrecisionsExpected = "auto, fp32 or bf16";

    internal static bool IsPrecision(string text) => text is "auto" or "fp32" or "bf16";

    /// <summary>What bf16 brings on a CPU with this instruction set.</summary>
    internal static string Bf16On(string isa) => isa == "avx512bf16"
        ? "is faster here (AVX512-BF16) and halves the memory of activations"
        : "halves the memory of activations; it is faster on CPUs with AVX512-BF16 alone";

    /// <summary>Opens a device.</summary>
    /// <param name="device">auto, cpu, cuda, cuda:N, opencl or opencl:N; auto takes cuda:0 where an NVIDIA GPU can be used.</param>
    /// <param name="precision">auto, fp32 or bf16; auto is bf16 on CUDA, fp32 on the CPU, whose reference it is, and through OpenCL.</param>
    /// <param name="threads">CPU threads; 0 = as many as this process may use.</param>
    /// <param name="memoryLimitBytes">Bytes of buffers; 0 = what is free.</param>
    /// <exception cref="FineTuneException">There is no such device, or it does not compute in this precision.</exception>
    internal static Device Open(string device, string precision, int threads = 0, long memoryLimitBytes = 0)
    {
        DeviceName wanted = DeviceName.TryParse(device) ?? throw FineTuneException.Usage($"device is '{device}', expected {DeviceName.Expected}.");
        if (!IsPrecision(precision)) throw FineTuneException.Usage($"precision is '{precision}', expected {PrecisionsExpected}.");
        var choices = new List<string>();
        if (wanted.Kind == DeviceKind.OpenCl)
        {
            IBackend other = OpenCl.Provider(wanted).Open(wanted.Index, memoryLimitBytes);
            return new Device(wanted, other, Resolve(precision, DeviceKind.OpenCl, other.Info.Isa, choices), choices);
        }

        Choose(wanted, choices);
        var backend = new NativeBackend(threads, memoryLimitBytes, wanted.Index);
        try
        {
            DeviceKind opened = backend.Info.Kind == "cuda" ? DeviceKind.Cuda : DeviceKind.Cpu;
            if (wanted.Kind is { } kind && kind != opened)
            {
                throw FineTuneException.Usage(
                    $"--device {wanted}: FTC_LIBRARY_PATH forces {NativeLibraryLoader.LoadedFrom}, a library for {backend.Info.Kind}; unset it, or choose that device.");
            }

            return new Device(wanted with { Kind = opened }, backend, Resolve(precision, opened, backend.Info.Isa, choices), choices);
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Sets where the device changes from multiplying NF4 weights packed to dequantising them first: as <paramref name="packedRows"/> says (a run
    /// that goes on), as an earlier process measured, or as measured now.
    /// </summary>
    /// <returns>The number of rows; null on the CPU and through OpenCL, which always multiply packed.</returns>
    internal long? Tune(long? packedRows = null, bool again = false)
    {
        if (Name.Kind != DeviceKind.Cuda) return null;
        DeviceInfo info = Backend.Info;
        string key = $"{info.Name}, {info.Isa}, library {NativeLibraryLoader.Version}";
        if ((packedRows ?? (again ? null : TuneCache.Read(key))) is { } known) return Backend.TunePackedRows(known);
        long measured = Backend.TunePackedRows(-1);
        TuneCache.Write(key, measured);
        return measured;
    }

    /// <summary>Makes the library of the wanted device, or for auto the best there is, the one of this process.</summary>
    private static void Choose(DeviceName wanted, List<string> choices)
    {
        if (NativeLibraryLoader.IsForced) return;
        NativeLibraryKind kind;
        if (wanted.Kind is { } named)
        {
            kind = named == DeviceKind.Cuda ? NativeLibraryKind.Cuda : NativeLibraryKind.Cpu;
            if (named == DeviceKind.Cuda) Check(wanted);
        }
        else if (NativeLibraryLoader.Kind is { } chosen)
        {
            kind = chosen;
        }
        else
        {
            bool cuda = CudaProbe.Result.DeviceCount > 0;
            kind = cuda ? NativeLibraryKind.Cuda : NativeLibraryKind.Cpu;
            choices.Add(cuda ? "device cuda:0: the first GPU" : "device cpu: no GPU can be used, ftc doctor says why");
        }

        try
        {
            NativeLibraryLoader.Use(kind);
        }
        catch (InvalidOperationException e)
        {
            throw FineTuneException.Usage($"--device {wanted}: {e.Message}.");
        }
    }

    private static void Check(DeviceName wanted)
    {
        CudaProbe probe = CudaProbe.Result;
        if (probe.Problem is { } problem) throw FineTuneException.Failed($"--device {wanted}: {problem}");
        if (wanted.Index < probe.DeviceCount) return;
        string there = probe.DeviceCount == 1 ? "one GPU, cuda:0" : $"{probe.DeviceCount} GPUs, cuda:0 to cuda:{probe.DeviceCount - 1}";
        throw FineTuneException.Usage($"--device {wanted}: this machine has {there}; choose one of these. ftc doctor lists them.");
    }

    private static Precision Resolve(string precision, DeviceKind kind, string isa, List<string> choices)
    {
        if (precision != "auto") return precision == "bf16" ? Precision.Bf16 : Precision.Fp32;
        choices.Add(kind switch
        {
            DeviceKind.Cuda => "precision bf16: CUDA's",
            DeviceKind.OpenCl => "precision fp32: OpenCL's; --precision bf16 halves the memory of activations",
            _ => $"precision fp32: the CPU's; --precision bf16 {Bf16On(isa)}",
        });
        return kind == DeviceKind.Cuda ? Precision.Bf16 : Precision.Fp32;
    }
}
