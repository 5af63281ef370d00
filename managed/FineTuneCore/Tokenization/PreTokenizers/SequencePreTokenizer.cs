using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.PreTokenizers;

/// <summary>One after the other.</summary>
internal sealed class SequencePreTokenizer(IReadOnlyList<IPreTokenizer> parts) : IPreTokenizer
{
    public List<Piece> Apply(List<Piece> pieces) => parts.Aggregate(pieces, (current, part) => part.Apply(current));
}
