using System.Text.Json;

namespace FineTuneCore.Data;

/// <summary>A conversation, for the model's chat template.</summary>
/// <param name="Format">How it was written.</param>
/// <param name="Source">Where it is from.</param>
/// <param name="Messages">Objects with role and content, as templates take them.</param>
/// <param name="Trained">For each message whether it is trained: assistant turns whose weight is not 0.</param>
/// <param name="Tools">Tool descriptions for the template, or null.</param>
public sealed record ChatExample(
    ExampleFormat Format, SourceLocation Source, IReadOnlyList<JsonElement> Messages, IReadOnlyList<bool> Trained, JsonElement? Tools)
    : Example(Format, Source);
