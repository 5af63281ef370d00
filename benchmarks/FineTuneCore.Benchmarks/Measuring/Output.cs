using System.Text.Json.Nodes;
using FineTuneCore.Backends;
using FineTuneCore.Native;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>Opens the CPU library for a measurement, and says what it is.</summary>
internal static class Output
{
    /// <exception cref="FineTuneException">The library or this CPU does not compute in this precision.</exception>
    internal static NativeBackend Open(int threads, string precision) => Device.Open("cpu", precision, threads).Backend;

    internal static void Start(NativeBackend backend, string verb, string precision, params (string Key, JsonNode? Value)[] more) => JsonLines.Write("start", [
        ("side", "ours"), ("verb", verb), ("precision", precision), ("threads", backend.Info.Threads),
        ("version", $"FineTuneCore {typeof(NativeBackend).Assembly.GetName().Version!.ToString(3)}, ftc.h {NativeLibraryLoader.Version}"),
        ("runtime", $".NET {Environment.Version}"), ("cpu", Machine.Cpu), ("isa", backend.Info.Isa), .. more]);
}
