using System.Text.Json.Nodes;
using TorchSharp;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>What the peer says about itself before it is timed.</summary>
internal static class Output
{
    /// <summary>malloc keeps large blocks instead of mapping and unmapping them: what a user who tunes libtorch sets before the process starts.</summary>
    private static readonly string[] MallocSettings = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"];

    internal static string Version => $"TorchSharp {typeof(torch).Assembly.GetName().Version!.ToString(3)}, libtorch {torch.__version__}";

    internal static void Start(string verb, string precision, int threads, params (string Key, JsonNode? Value)[] more) => JsonLines.Write("start", [
        ("side", "peer"), ("verb", verb), ("precision", precision), ("threads", threads),
        ("version", Version), ("runtime", $".NET {Environment.Version}"),
        ("cpu", Machine.Cpu), ("isa", Machine.InstructionSets),
        ("malloc", MallocSettings.All(name => Environment.GetEnvironmentVariable(name) is not null) ? "tuned" : "default"),
        ("wait_policy", Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") ?? "default"), .. more]);
}
