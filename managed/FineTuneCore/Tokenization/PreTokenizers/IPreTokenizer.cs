using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.PreTokenizers;

/// <summary>Cuts pieces into smaller ones that the model never merges across.</summary>
internal interface IPreTokenizer
{
    List<Piece> Apply(List<Piece> pieces);
}
