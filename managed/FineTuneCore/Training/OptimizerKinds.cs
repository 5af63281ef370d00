using FineTuneCore.Models;

namespace FineTuneCore.Training;

internal static class OptimizerKinds
{
    /// <summary>Names as the command line has them.</summary>
    internal static readonly (string Name, OptimizerKind Kind)[] Names =
    [
        ("adamw", OptimizerKind.AdamW), ("adamw-8bit", OptimizerKind.AdamW8Bit), ("paged-adamw", OptimizerKind.PagedAdamW),
        ("paged-adamw-8bit", OptimizerKind.PagedAdamW8Bit), ("sgd", OptimizerKind.Sgd),
    ];

    /// <summary>Name as the command line has it.</summary>
    internal static string Name(this OptimizerKind kind) => Names.Single(n => n.Kind == kind).Name;

    /// <summary>What the optimiser remembers.</summary>
    internal static OptimizerState State(this OptimizerKind kind) => kind switch
    {
        OptimizerKind.AdamW or OptimizerKind.PagedAdamW => OptimizerState.TwoMoments,
        OptimizerKind.AdamW8Bit or OptimizerKind.PagedAdamW8Bit => OptimizerState.TwoMoments8Bit,
        OptimizerKind.Sgd => OptimizerState.Velocity,
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
    };

    /// <summary>Whether the state lies in host memory.</summary>
    internal static bool IsPaged(this OptimizerKind kind) => kind is OptimizerKind.PagedAdamW or OptimizerKind.PagedAdamW8Bit;

    /// <summary>The same update with its state on the device.</summary>
    internal static OptimizerKind Unpaged(this OptimizerKind kind) => kind switch
    {
        OptimizerKind.PagedAdamW => OptimizerKind.AdamW,
        OptimizerKind.PagedAdamW8Bit => OptimizerKind.AdamW8Bit,
        _ => kind,
    };
}
