namespace FineTuneCore.Tokenization;

/// <summary>A chat template cannot be read or rendered, or refuses the conversation itself; the message names template and line.</summary>
public sealed class ChatTemplateException : Exception
{
    /// <summary>Creates the exception with its one-paragraph message.</summary>
    public ChatTemplateException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with its one-paragraph message and the error behind it.</summary>
    public ChatTemplateException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
