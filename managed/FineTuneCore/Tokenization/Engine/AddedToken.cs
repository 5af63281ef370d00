namespace FineTuneCore.Tokenization.Engine;

/// <summary>A token that is cut out of the text before the model sees it.</summary>
/// <param name="Content">The text that is matched.</param>
/// <param name="Id">Its token id.</param>
/// <param name="Special">Left out when decoding with skipSpecialTokens.</param>
/// <param name="LeftStrip">Takes the white space before it along.</param>
/// <param name="RightStrip">Takes the white space after it along.</param>
/// <param name="SingleWord">Matches only where no word character touches it.</param>
/// <param name="Normalized">Matched in the normalised text rather than in the original.</param>
internal sealed record AddedToken(
    string Content, int Id, bool Special, bool LeftStrip, bool RightStrip, bool SingleWord, bool Normalized);
