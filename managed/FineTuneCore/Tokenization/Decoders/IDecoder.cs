namespace FineTuneCore.Tokenization.Decoders;

/// <summary>Turns token strings back into text, step by step; the strings that remain are joined.</summary>
internal interface IDecoder
{
    List<string> Apply(List<string> tokens);
}
