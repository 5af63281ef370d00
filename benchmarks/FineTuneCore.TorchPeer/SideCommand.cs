using FineTuneCore.Benchmarks.Kernels;
using TorchSharp;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>The peer's ops as a side of the comparison of kernels, on one thread.</summary>
internal static class SideCommand
{
    /// <summary>About what it reaches, a conservative guess.</summary>
    private const double Gigaflops = 30;

    internal static void Run(Arguments arguments)
    {
        bool checkOnly = arguments.Has("check");
        string log = arguments.Text("log", Path.Combine("artifacts", "bench", "side.log"));
        arguments.RefuseOthers();
        torch.set_num_threads(1);
        // Its peak is that of the CPU, which our own library measures.
        JsonLines.Write(
            "start", ("version", Output.Version), ("runtime", $".NET {Environment.Version}"), ("device", Machine.ModelName), ("isa", "its own choice"), ("peak_gflops", null),
            ("peak_bf16_gflops", null), ("copy_gbs", checkOnly ? null : Copy()), ("on_cpu", true));
        KernelRunner.Run(checkOnly, log, Gigaflops, isLack: _ => false);
    }

    private static double Copy()
    {
        using torch.Tensor from = torch.ones(CopyRate.Bytes / sizeof(float)), to = torch.ones(CopyRate.Bytes / sizeof(float));
        return CopyRate.Gigabytes(() => to.copy_(from));
    }
}
