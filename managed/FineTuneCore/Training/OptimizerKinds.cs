using FineTuneCore.Models;

namespace FineTuneCore.Training;

internal static class OptimizerKinds
{
    /// <summary>Names as the command line has them.</summary>
    internal static readonly (string Name, OptimizerKind Kind)[] Names =
        [("adamw", OptimizerKind.AdamW), ("adamw-8bit", OptimizerKind.AdamW8Bit), ("sgd", OptimizerKind.Sgd)];

    /// <summary>What the optimiser remembers.</summary>
    internal static OptimizerState State(this OptimizerKind kind) => kind switch
    {
        OptimizerKind.AdamW => OptimizerState.TwoMoments,
        OptimizerKind.AdamW8Bit => OptimizerState.TwoMoments8Bit,
        OptimizerKind.Sgd => OptimizerState.Velocity,
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
    };
}
