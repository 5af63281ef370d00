using System.Text.Json;

namespace FineTuneCore.Tokenization.Loading;

/// <summary>A JSON value that knows its file and path, so that every complaint can say where.</summary>
internal readonly record struct JsonPlace(JsonElement Value, string File, string Path)
{
    public bool IsNull => Value.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    public string Type => String("type");

    /// <summary>The member, or a null value where there is none.</summary>
    public JsonPlace this[string name] => new(
        Value.ValueKind == JsonValueKind.Object && Value.TryGetProperty(name, out JsonElement member) ? member : default, File, $"{Path}.{name}");

    public IEnumerable<JsonPlace> Items()
    {
        if (Value.ValueKind != JsonValueKind.Array)
            throw Wrong("an array");
        JsonPlace self = this;
        return Value.EnumerateArray().Select((item, i) => new JsonPlace(item, self.File, $"{self.Path}[{i}]"));
    }

    public IEnumerable<JsonProperty> Members()
    {
        if (Value.ValueKind != JsonValueKind.Object)
            throw Wrong("an object");
        return Value.EnumerateObject();
    }

    public string AsString() => Value.ValueKind == JsonValueKind.String ? Value.GetString()! : throw Wrong("a string");

    public string String(string name) => this[name].AsString();

    public string? StringOrNull(string name) => this[name] is { IsNull: false } member ? member.AsString() : null;

    public bool Bool(string name, bool fallback)
    {
        JsonPlace member = this[name];
        return member.Value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Null or JsonValueKind.Undefined => fallback,
            _ => throw member.Wrong("true or false"),
        };
    }

    public int AsInt() => Value.ValueKind == JsonValueKind.Number && Value.TryGetInt32(out int value) ? value : throw Wrong("a whole number");

    public int Int(string name) => this[name].AsInt();

    public TokenizationException Wrong(string expected) => new(
        $"{File}: {Path} is {(IsNull ? "missing" : Shorten(Value.GetRawText()))}, expected {expected}; the file may be damaged or of another format, fetch it again");

    public TokenizationException Unsupported(string what) => new(
        $"{File}: {Path} is {what}, which this engine does not support; use a tokenizer.json without it, or report the model");

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..57] + "...";
}
