using System.Diagnostics;
using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>
/// Starts one side in a process of its own, so that heaps, thread pools and peaks of memory are not shared, and reads what it prints. The peer gets the
/// settings of malloc that a user who tunes libtorch sets.
/// </summary>
internal static class MeasuringProcess
{
    internal const int Refused = 4;
    internal const int DoesNotLoad = 3;
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(10);

    internal static readonly (string Name, string Value)[] TunedMalloc =
        [("MALLOC_MMAP_THRESHOLD_", "4294967296"), ("MALLOC_TRIM_THRESHOLD_", "17179869184"), ("MALLOC_TOP_PAD_", "67108864")];

    /// <summary>
    /// For products timed one by one: .NET compiles a method once. Its background compiler would take one of two cores for as long as some rows are timed, of
    /// either side.
    /// </summary>
    private static readonly (string Name, string Value) CompiledOnce = ("DOTNET_TieredCompilation", "0");

    /// <summary>Variables that the machine's own environment may hold, and which would change what is measured.</summary>
    private static readonly string[] Cleared =
        ["FTC_CPU_ISA", "FTC_LIBRARY_PATH", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS", CompiledOnce.Name, .. TunedMalloc.Select(m => m.Name)];

    internal static readonly string Peer =
        Path.Combine("benchmarks", "FineTuneCore.TorchPeer", "bin", "Release", "net10.0", "linux-x64", "torch-peer.dll");

    /// <summary>Runs the peer.</summary>
    /// <param name="arguments">Verb and options.</param>
    /// <param name="passive">libgomp's threads sleep at barriers instead of spinning.</param>
    internal static Measurement RunPeer(string arguments, bool passive = false) =>
        Run(Peer, arguments, passive ? [.. TunedMalloc, ("OMP_WAIT_POLICY", "passive")] : TunedMalloc);

    /// <summary>Runs the peer's side of a table of products.</summary>
    internal static Measurement RunPeerProducts(string arguments) => Run(Peer, arguments, [.. TunedMalloc, CompiledOnce]);

    /// <summary>Runs our side of a table of products with an instruction set.</summary>
    internal static Measurement RunOurProducts(string arguments, string isa) =>
        Run(typeof(MeasuringProcess).Assembly.Location, arguments, [("FTC_CPU_ISA", isa), CompiledOnce]);

    /// <summary>Runs ours with an instruction set.</summary>
    internal static Measurement RunOurs(string arguments, string isa) =>
        Run(typeof(MeasuringProcess).Assembly.Location, arguments, [("FTC_CPU_ISA", isa)]);

    private static Measurement Run(string program, string arguments, (string Name, string Value)[] environment)
    {
        using Process process = Process.Start(StartInfo("dotnet", $"\"{program}\" {arguments}", environment))!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(Longest))
        {
            process.Kill(entireProcessTree: true);
            throw new NoResultException($"{Path.GetFileName(program)} {arguments} was still running after {Longest.TotalMinutes} minutes");
        }

        string text = output.Result.Trim();
        return process.ExitCode switch
        {
            0 => Parse(text),
            Refused => throw new RefusedException(text["refused: ".Length..]),
            DoesNotLoad => throw new NoResultException(text),
            _ => throw new NoResultException($"{Path.GetFileName(program)} {arguments} ended with exit code {process.ExitCode}"),
        };
    }

    /// <summary>A program whose output is read and whose environment is what the measurement says, whatever ours holds.</summary>
    internal static ProcessStartInfo StartInfo(string program, string arguments, IEnumerable<(string Name, string Value)> environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true };
        foreach (string name in Cleared) start.Environment.Remove(name);
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        return start;
    }

    private static Measurement Parse(string text)
    {
        JsonObject[] lines = [.. text.Split('\n').Select(line => JsonNode.Parse(line)!.AsObject())];
        return new Measurement { Start = lines[0], Lines = lines[1..^1], End = lines[^1] };
    }
}
