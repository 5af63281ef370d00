namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>Ops that share a table and a plot.</summary>
/// <param name="Name">Of its files.</param>
/// <param name="Title">Its heading.</param>
/// <param name="IsArithmetic">Whether the rate is of operations and not of bytes.</param>
public sealed record KernelFamily(string Name, string Title, bool IsArithmetic)
{
    internal static readonly KernelFamily Linear = new("linear", "Linear layers", true);
    internal static readonly KernelFamily Lora = new("lora", "Linear layers with adapters", true);
    internal static readonly KernelFamily Quantised = new("quantised", "Linear layers over quantised weights", true);
    internal static readonly KernelFamily Quantisation = new("quantisation", "Quantisation", false);
    internal static readonly KernelFamily Attention = new("attention", "Attention", true);
    internal static readonly KernelFamily Elementwise = new("elementwise", "Norm, RoPE, SwiGLU, embedding", false);
    internal static readonly KernelFamily Loss = new("loss", "Head and cross-entropy", true);
    internal static readonly KernelFamily Optimizer = new("optimizer", "Optimiser", false);

    /// <summary>All of them, in the order of the page.</summary>
    internal static readonly IReadOnlyList<KernelFamily> All = [Lora, Linear, Quantised, Quantisation, Attention, Elementwise, Loss, Optimizer];

    internal string Unit => IsArithmetic ? "GFLOP/s" : "GB/s";
}
