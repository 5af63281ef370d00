namespace FineTuneCore.Data;

/// <summary>Where a sample is from.</summary>
/// <param name="File">Path of the file.</param>
/// <param name="Line">Line, 1 for the first; in a .json array the number of the element.</param>
public readonly record struct SourceLocation(string File, int Line)
{
    /// <summary>file:line.</summary>
    public override string ToString() => $"{File}:{Line}";
}
