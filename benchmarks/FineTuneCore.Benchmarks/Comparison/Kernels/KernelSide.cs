namespace FineTuneCore.Benchmarks.Comparison.Kernels;

/// <summary>One library on one device: a process that times its ops.</summary>
/// <param name="Name">As tables have it.</param>
/// <param name="Host">What runs it.</param>
/// <param name="Arguments">Of the host.</param>
/// <param name="Environment">On top of what <see cref="MeasuringProcess"/> clears.</param>
/// <param name="Missing">Why it cannot run here, when that is known before it is tried.</param>
/// <param name="OnlyBf16">Whether it differs from another side in ops of bf16 alone.</param>
internal sealed record KernelSide(
    string Name, string Host, string Arguments, IReadOnlyList<(string Name, string Value)> Environment, string? Missing = null, bool OnlyBf16 = false)
{
    internal const string Baseline = "torchsharp";

    /// <summary>One computing unit is one thread: PoCL 5 and later, and before.</summary>
    private static readonly (string, string)[] OnePoclThread = [("POCL_CPU_MAX_CU_COUNT", "1"), ("POCL_MAX_PTHREAD_COUNT", "1")];

    /// <summary>
    /// Code is compiled once and well: these processes are too short for the runtime to find out what is worth it, and the first calls would be slow ones.
    /// </summary>
    private static readonly (string, string) CompiledOnce = ("DOTNET_TieredCompilation", "0");

    private static readonly string Program = typeof(KernelSide).Assembly.Location;

    /// <summary>Instruction sets of the CPU library with the flag that a CPU shows for them.</summary>
    private static readonly (string Isa, string? Flag, string What)[] Isas =
        [("portable", null, ""), ("avx2", "avx2", "AVX2"), ("avx512", "avx512bw", "AVX-512"), ("avx512bf16", "avx512_bf16", "AVX512-BF16")];

    /// <summary>The instruction set that the CPU library is held to; null for other sides.</summary>
    internal string? Isa => Isas.Any(i => i.Isa == Name) ? Name : null;

    internal static IReadOnlyList<string> Names => [.. All(null).Select(s => s.Name)];

    /// <summary>All sides in the order of tables, those that cannot run here with the reason.</summary>
    /// <param name="oclPrefix">Folder with an OpenCL device that needs no GPU and its own .NET host; null uses the system's OpenCL.</param>
    internal static IReadOnlyList<KernelSide> All(string? oclPrefix)
    {
        var sides = new List<KernelSide>
        {
            new(Baseline, "dotnet", $"\"{MeasuringProcess.Peer}\" side", [.. MeasuringProcess.TunedMalloc, ("OMP_NUM_THREADS", "1"), CompiledOnce],
                File.Exists(MeasuringProcess.Peer) ? null : $"{MeasuringProcess.Peer} is not built"),
        };
        sides.AddRange(Isas.Select(i => new KernelSide(
            i.Isa, "dotnet", $"\"{Program}\" side --device cpu", [("FTC_CPU_ISA", i.Isa), CompiledOnce], i.Flag is null || Machine.Has(i.Flag) ? null : $"this CPU has no {i.What}",
            OnlyBf16: i.Isa == "avx512bf16")));
        sides.Add(oclPrefix is null
            ? new KernelSide("opencl", "dotnet", $"\"{Program}\" side --device opencl", [.. OnePoclThread, CompiledOnce])
            : new KernelSide(
                "opencl", Path.Combine(oclPrefix, "dotnet", "dotnet"), $"exec \"{Program}\" side --device opencl",
                [.. OnePoclThread, CompiledOnce, ("OCL_ICD_VENDORS", Path.Combine(oclPrefix, "vendors")), ("POCL_CACHE_DIR", Path.Combine(oclPrefix, "cache"))]));
        sides.Add(new KernelSide("cuda", "dotnet", $"\"{Program}\" side --device cuda", [CompiledOnce]));
        return sides;
    }
}
