using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>
/// In which type a model computes. Sums, statistics, norm weights, biases, adapters, gradients and the optimiser are fp32 in both.
/// </summary>
internal enum Precision
{
    /// <summary>Activations fp32, weights as the checkpoint stores them.</summary>
    Fp32,

    /// <summary>Activations and wide weights bf16.</summary>
    Bf16,
}

internal static class Precisions
{
    /// <summary>Element type of activations, the key-value cache and logits.</summary>
    internal static DType Activations(this Precision precision) => precision == Precision.Bf16 ? DType.BF16 : DType.F32;

    /// <summary>As --precision and config files spell it.</summary>
    internal static string Name(this Precision precision) => precision == Precision.Bf16 ? "bf16" : "fp32";
}
