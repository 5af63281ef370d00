using System.Text.Json;
using System.Text.Json.Serialization;

namespace FineTuneCore.Training;

/// <summary>manifest.json of a run directory: what the run was made from, so that it can be used and repeated without its command.</summary>
internal sealed record RunManifest
{
    internal const string FileName = "manifest.json";

    [JsonPropertyName("tool")]
    public required string Tool { get; init; }

    [JsonPropertyName("native_library")]
    public required string NativeLibrary { get; init; }

    [JsonPropertyName("created")]
    public required DateTimeOffset Created { get; init; }

    /// <summary>The base model's directory.</summary>
    [JsonPropertyName("base_model")]
    public required string BaseModel { get; init; }

    [JsonPropertyName("base_model_sha256")]
    public required Dictionary<string, string> BaseModelSha256 { get; init; }

    [JsonPropertyName("method")]
    public required string Method { get; init; }

    /// <summary>Where the result lies within the run: adapter or model.</summary>
    [JsonPropertyName("result")]
    public required string Result { get; init; }

    [JsonPropertyName("chat_template")]
    public string? ChatTemplate { get; init; }

    [JsonPropertyName("data")]
    public required string Data { get; init; }

    [JsonPropertyName("data_sha256")]
    public required string DataSha256 { get; init; }

    [JsonPropertyName("validation_data_sha256")]
    public string? ValidationDataSha256 { get; init; }

    [JsonPropertyName("seed")]
    public required int Seed { get; init; }

    [JsonPropertyName("device")]
    public required string Device { get; init; }

    /// <summary>fp32 or bf16; null in manifests of versions that had fp32 only.</summary>
    [JsonPropertyName("precision")]
    public string? Precision { get; init; }

    /// <summary>Up to how many rows the GPU multiplied NF4 weights packed; a part of the run that goes on takes it over.</summary>
    [JsonPropertyName("packed_rows")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? PackedRows { get; init; }

    [JsonPropertyName("isa")]
    public required string Isa { get; init; }

    [JsonPropertyName("threads")]
    public required int Threads { get; init; }

    [JsonPropertyName("operating_system")]
    public required string OperatingSystem { get; init; }

    [JsonPropertyName("runtime")]
    public required string Runtime { get; init; }

    internal byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, RunManifestJson.Default.RunManifest);

    /// <summary>The manifest of a run directory, or null where there is none.</summary>
    internal static RunManifest? Find(string directory)
    {
        string path = Path.Combine(directory, FileName);
        if (!File.Exists(path)) return null;
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), RunManifestJson.Default.RunManifest);
        }
        catch (JsonException e)
        {
            throw FineTuneException.Failed($"{path} is not the manifest of a run ({e.Message}).", e);
        }
    }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(RunManifest))]
internal sealed partial class RunManifestJson : JsonSerializerContext;
