namespace FineTuneCore.Models;

/// <summary>Shape of a <see cref="RandomModel"/>: a Llama whose head is tied to its embedding. The defaults make 0.1 million parameters.</summary>
public sealed record RandomModelShape
{
    /// <summary>Width of a token's vector; an even multiple of <see cref="Heads"/>. Default 64.</summary>
    public int HiddenSize { get; init; } = 64;

    /// <summary>Width inside the feed-forward part, from 1. Default 160.</summary>
    public int IntermediateSize { get; init; } = 160;

    /// <summary>Decoder blocks, from 1. Default 2.</summary>
    public int Layers { get; init; } = 2;

    /// <summary>Attention heads, a multiple of <see cref="KeyValueHeads"/>. Default 4.</summary>
    public int Heads { get; init; } = 4;

    /// <summary>Key-value heads, from 1. Default 2.</summary>
    public int KeyValueHeads { get; init; } = 2;

    /// <summary>Most tokens of a row, from 8; a token of this model is a byte of text. Default 512.</summary>
    public int ContextLength { get; init; } = 512;

    internal int HeadDim => HiddenSize / Heads;

    /// <exception cref="FineTuneException">A number is out of its range; the message names it.</exception>
    internal void Check()
    {
        foreach ((string name, int value, int least) in ((string, int, int)[])[
            (nameof(IntermediateSize), IntermediateSize, 1), (nameof(Layers), Layers, 1), (nameof(KeyValueHeads), KeyValueHeads, 1),
            (nameof(Heads), Heads, 1), (nameof(HiddenSize), HiddenSize, 1), (nameof(ContextLength), ContextLength, 8)])
        {
            if (value < least) throw FineTuneException.Usage($"{name} is {value}, expected {least} or more.");
        }

        if (Heads % KeyValueHeads != 0) throw FineTuneException.Usage($"Heads is {Heads}, expected a multiple of KeyValueHeads ({KeyValueHeads}).");
        if (HiddenSize % (2 * Heads) != 0) throw FineTuneException.Usage($"HiddenSize is {HiddenSize}, expected an even multiple of Heads ({Heads}).");
    }
}
