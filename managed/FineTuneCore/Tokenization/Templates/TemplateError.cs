namespace FineTuneCore.Tokenization.Templates;

/// <summary>An error while a template is parsed or rendered; the line is added by the statement it happens in.</summary>
internal sealed class TemplateError(string message, int line = 0) : Exception(message)
{
    /// <summary>Line of the template, 1 for the first; 0 while it is not known.</summary>
    public int Line { get; } = line;
}
