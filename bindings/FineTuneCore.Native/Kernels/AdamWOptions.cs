namespace FineTuneCore.Kernels;

/// <summary>Numbers of one AdamW update.</summary>
public sealed record AdamWOptions
{
    /// <summary>Learning rate.</summary>
    public required float LearningRate { get; init; }

    /// <summary>Decay of the first moment. Default 0.9.</summary>
    public float Beta1 { get; init; } = 0.9f;

    /// <summary>Decay of the second moment. Default 0.999.</summary>
    public float Beta2 { get; init; } = 0.999f;

    /// <summary>Added to the root of the second moment. Default 1e-8.</summary>
    public float Eps { get; init; } = 1e-8f;

    /// <summary>Decoupled weight decay. Default 0.</summary>
    public float WeightDecay { get; init; }

    /// <summary>What the gradient is multiplied by first: clipping. Default 1.</summary>
    public float GradientScale { get; init; } = 1;
}
