namespace FineTuneCore.Kernels;

/// <summary>
/// A LoRA adapter of a linear layer with N out-features and K in-features: scaling · drop(X) Aᵀ Bᵀ is added to Y. Hu et al. 2021, arXiv:2106.09685.
/// All of it is F32. Several adapters in one batch are several calls over ranges of its rows.
/// </summary>
public readonly ref struct LoraAdapter
{
    /// <summary>[rank, K]; of QA-LoRA [rank, K / <see cref="Pool"/>].</summary>
    public required TensorView A { get; init; }

    /// <summary>[N, rank].</summary>
    public required TensorView B { get; init; }

    /// <summary>[rows, rank], drop(X) Aᵀ: written by forward, read by backward.</summary>
    public required TensorView S { get; init; }

    /// <summary>Alpha / rank; alpha / √rank for rsLoRA.</summary>
    public required float Scaling { get; init; }

    /// <summary>Gradient of A, added to by backward; none when A is frozen.</summary>
    public TensorView Da { get; init; }

    /// <summary>Gradient of B, added to by backward; none when B is frozen.</summary>
    public TensorView Db { get; init; }

    /// <summary>
    /// 0, or 32, 64 or 128: QA-LoRA, whose adapter sees the means of that many neighbouring features, so that <see cref="AffineGroups.Merge"/> takes it into
    /// the minima of an affine weight with groups of that size. Xu et al. 2024, arXiv:2309.14717.
    /// </summary>
    public int Pool { get; init; }

    /// <summary>Chance of dropping a feature on the adapter's path, 0 up to 1. Default 0.</summary>
    public float DropoutProbability { get; init; }

    /// <summary>Names adapter and layer to the generator of dropout.</summary>
    public ulong DropoutSeed { get; init; }

    /// <summary>Names the step to it.</summary>
    public uint DropoutStep { get; init; }

    /// <summary>I32 [1, rows]: the sample each row is of, so that the bits do not depend on where a batch puts it. With dropout only.</summary>
    public TensorView DropoutSamples { get; init; }

    /// <summary>I32 [1, rows]: its position in the sample. With dropout only.</summary>
    public TensorView DropoutPositions { get; init; }

    internal bool IsNone => A.IsNone;
}
