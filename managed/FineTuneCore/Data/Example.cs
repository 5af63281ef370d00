namespace FineTuneCore.Data;

/// <summary>One row of a dataset.</summary>
/// <param name="Format">How it was written.</param>
/// <param name="Source">Where it is from.</param>
public abstract record Example(ExampleFormat Format, SourceLocation Source);
