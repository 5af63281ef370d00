namespace FineTuneCore.Models;

/// <summary>What an optimiser remembers of every trained number, and in which form.</summary>
internal enum OptimizerState
{
    /// <summary>Mean and mean square of the gradients in fp32: AdamW.</summary>
    TwoMoments,

    /// <summary>The same as codes of 8 bits, with an absmax for each block of them. Dettmers et al. 2022, arXiv:2110.02861.</summary>
    TwoMoments8Bit,

    /// <summary>One velocity in fp32: SGD.</summary>
    Velocity,
}

internal static class OptimizerStates
{
    /// <summary>Elements of a state that share an absmax.</summary>
    internal const long BlockSize = 256;

    private const long CacheLine = 16; // floats

    /// <summary>Elements to whose multiples a tensor's place is rounded: no block of codes holds parts of two tensors.</summary>
    internal static long Alignment(this OptimizerState state) => state == OptimizerState.TwoMoments8Bit ? BlockSize : CacheLine;

    /// <summary>Bytes of the state of so many numbers.</summary>
    internal static long BytesOf(this OptimizerState state, long count) => state switch
    {
        OptimizerState.TwoMoments => 8 * count,
        OptimizerState.TwoMoments8Bit => 2 * count + 8 * Blocks(count),
        OptimizerState.Velocity => 4 * count,
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, null),
    };

    /// <summary>Blocks that so many elements fill.</summary>
    internal static long Blocks(long count) => (count + BlockSize - 1) / BlockSize;
}
