namespace FineTuneCore.Tokenization;

/// <summary>A tokenizer file cannot be read or asks for something this engine does not do; the message names the file and the place in it.</summary>
public sealed class TokenizationException : Exception
{
    /// <summary>Creates the exception with its one-paragraph message.</summary>
    public TokenizationException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with its one-paragraph message and the error behind it.</summary>
    public TokenizationException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
