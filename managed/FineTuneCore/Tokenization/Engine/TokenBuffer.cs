namespace FineTuneCore.Tokenization.Engine;

/// <summary>Token ids and their original ranges while an encoding is being made.</summary>
internal sealed class TokenBuffer
{
    public List<int> Ids { get; } = [];

    public List<TextRange> Offsets { get; } = [];

    public int Count => Ids.Count;

    public void Add(int id, TextRange offset)
    {
        Ids.Add(id);
        Offsets.Add(offset);
    }

    public void Add(TokenBuffer other)
    {
        Ids.AddRange(other.Ids);
        Offsets.AddRange(other.Offsets);
    }

    /// <summary>Adds tokens that follow each other in <paramref name="piece"/>, each <paramref name="lengths"/>[i] units long.</summary>
    public void Add(ReadOnlySpan<int> ids, ReadOnlySpan<int> starts, ReadOnlySpan<int> lengths, in Piece piece)
    {
        for (int i = 0; i < ids.Length; i++)
        {
            int first = piece.Start + starts[i];
            int last = first + Math.Max(lengths[i], 1) - 1;
            Add(ids[i], new TextRange(piece.Source.StartOf(first), piece.Source.EndOf(last)));
        }
    }
}
