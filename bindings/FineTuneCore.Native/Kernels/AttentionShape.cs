namespace FineTuneCore.Kernels;

/// <summary>Heads, scale and place of one attention.</summary>
/// <param name="Heads">Query heads, a multiple of the key-value heads.</param>
/// <param name="KeyValueHeads">Key-value heads.</param>
/// <param name="HeadDim">Features of a head, 1 to 256.</param>
/// <param name="Scale">Of q · k; usually 1 / √HeadDim.</param>
/// <param name="FirstQuery">Row of the keys that query 0 sits at: with a cache of keys their number before it, otherwise 0.</param>
public readonly record struct AttentionShape(int Heads, int KeyValueHeads, int HeadDim, float Scale, long FirstQuery = 0);
