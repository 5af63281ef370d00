using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Models;

/// <summary>The vocabulary and the rule that cuts a piece into tokens of it.</summary>
internal interface ITokenModel
{
    /// <summary>Token string to id.</summary>
    IReadOnlyDictionary<string, int> Vocabulary { get; }

    /// <summary>Appends the tokens of one piece. Safe to call from several threads.</summary>
    void Tokenize(in Piece piece, TokenBuffer output);
}
