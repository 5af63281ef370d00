using System.Text.Json;

namespace FineTuneCore.Models;

/// <summary>Reads keys of a config.json with errors that name file, key, value and what was expected.</summary>
internal sealed class ConfigReader
{
    private readonly JsonElement _root;
    private readonly string _prefix;

    internal ConfigReader(JsonElement root, string path, string prefix = "")
    {
        if (root.ValueKind != JsonValueKind.Object) throw FineTuneException.Failed($"{path} is not a JSON object.");
        _root = root;
        _prefix = prefix;
        Path = path;
    }

    internal string Path { get; }

    internal bool Has(string key) => _root.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    internal bool IsNull(string key) => _root.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Null;

    internal int Int(string key, int? otherwise = null, int minimum = 1, int maximum = int.MaxValue)
    {
        if (!Has(key)) return otherwise ?? throw Missing(key);
        JsonElement value = _root.GetProperty(key);
        // Hugging Face writes some integers as 8.0.
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out double number) || number != Math.Floor(number)
            || number < minimum || number > maximum)
        {
            throw Wrong(key, maximum == int.MaxValue ? $"a whole number from {minimum}" : $"a whole number from {minimum} to {maximum}");
        }

        return (int)number;
    }

    internal double Double(string key, double? otherwise = null)
    {
        if (!Has(key)) return otherwise ?? throw Missing(key);
        // Read as a float later on: what overflows there is as wrong as what is no number.
        return _root.GetProperty(key) is { ValueKind: JsonValueKind.Number } value && value.TryGetDouble(out double number) && float.IsFinite((float)number)
            ? number : throw Wrong(key, "a number");
    }

    internal bool Bool(string key, bool otherwise)
    {
        if (!Has(key)) return otherwise;
        return _root.GetProperty(key).ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Wrong(key, "true or false"),
        };
    }

    internal string? Text(string key)
    {
        if (!Has(key)) return null;
        return _root.GetProperty(key) is { ValueKind: JsonValueKind.String } value ? value.GetString() : throw Wrong(key, "a string");
    }

    internal string[] Texts(string key)
    {
        if (!Has(key)) return [];
        JsonElement value = _root.GetProperty(key);
        if (value.ValueKind != JsonValueKind.Array || value.EnumerateArray().Any(v => v.ValueKind != JsonValueKind.String)) throw Wrong(key, "a list of strings");
        return [.. value.EnumerateArray().Select(v => v.GetString()!)];
    }

    /// <summary>One integer or a list of them (eos_token_id is both in the wild).</summary>
    internal int[] Ints(string key)
    {
        if (!Has(key)) return [];
        JsonElement value = _root.GetProperty(key);
        JsonElement[] items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        var numbers = new int[items.Length];
        for (int i = 0; i < items.Length; i++)
            if (items[i].ValueKind != JsonValueKind.Number || !items[i].TryGetInt32(out numbers[i])) throw Wrong(key, "a whole number or a list of them");
        return numbers;
    }

    internal ConfigReader? Object(string key)
    {
        if (!Has(key)) return null;
        return _root.GetProperty(key) is { ValueKind: JsonValueKind.Object } value ? new ConfigReader(value, Path, $"{_prefix}{key}.") : throw Wrong(key, "an object");
    }

    internal FineTuneException Wrong(string key, string expected) =>
        FineTuneException.Failed($"{Path}: {_prefix}{key} is {(_root.TryGetProperty(key, out JsonElement v) ? v.GetRawText() : "missing")}, expected {expected}.");

    private FineTuneException Missing(string key) => FineTuneException.Failed($"{Path} has no {_prefix}{key}; a decoder cannot be built without it.");
}
