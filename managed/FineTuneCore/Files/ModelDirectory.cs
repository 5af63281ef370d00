using System.Text.Json;

namespace FineTuneCore.Files;

/// <summary>A Hugging Face model directory: config.json, tokenizer files, one or many safetensors files.</summary>
internal sealed class ModelDirectory
{
    private ModelDirectory(string path) => Path = path;

    internal string Path { get; }

    internal string ConfigPath => File("config.json");

    internal string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>
    /// Finds the directory a user names: a path, a Hugging Face cache folder (<c>models--org--name</c>, its newest or <c>main</c>
    /// snapshot), or <c>org/name</c> in the local cache (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub). Nothing is downloaded.
    /// </summary>
    /// <exception cref="FineTuneException">Nothing there; the message lists what was tried.</exception>
    internal static ModelDirectory Resolve(string name)
    {
        var tried = new List<string>();
        if (Directory.Exists(name))
        {
            string path = Snapshot(name) ?? name;
            if (System.IO.File.Exists(System.IO.Path.Combine(path, "config.json"))) return new ModelDirectory(System.IO.Path.GetFullPath(path));
            throw FineTuneException.Failed($"{path} has no config.json; expected a Hugging Face model directory (config.json, *.safetensors, tokenizer.json).");
        }

        tried.Add(System.IO.Path.GetFullPath(name));
        if (name.Split('/') is [{ Length: > 0 } organisation, { Length: > 0 } model])
        {
            string cached = System.IO.Path.Combine(CacheRoot(), $"models--{organisation}--{model}");
            tried.Add(cached);
            if (Directory.Exists(cached) && Snapshot(cached) is { } snapshot) return new ModelDirectory(snapshot);
        }

        throw FineTuneException.Failed(
            $"model '{name}' was not found. Tried: {string.Join(", ", tried)}. Nothing is downloaded: put the model's files (config.json, *.safetensors, tokenizer.json) in a directory and name it.");
    }

    /// <summary>Whether there are weights of any kind beside the config.</summary>
    internal bool HasWeights => Pickles().Length > 0 || System.IO.File.Exists(File("model.safetensors")) || System.IO.File.Exists(File("model.safetensors.index.json"));

    private string[] Pickles() => [.. Directory.EnumerateFiles(Path, "*.bin").Concat(Directory.EnumerateFiles(Path, "*.pth")).Select(f => System.IO.Path.GetFileName(f))];

    /// <summary>The safetensors files of the model, from the index where there is one.</summary>
    internal string[] WeightFiles()
    {
        string index = File("model.safetensors.index.json");
        if (System.IO.File.Exists(index)) return ShardsOf(index);
        string single = File("model.safetensors");
        if (System.IO.File.Exists(single)) return [single];
        string[] pickles = Pickles();
        throw FineTuneException.Failed(pickles.Length > 0
            ? $"{Path} holds {string.Join(", ", pickles)} but no model.safetensors. Pickle files can run code and are never loaded; convert the model to safetensors first."
            : $"{Path} has neither model.safetensors nor model.safetensors.index.json.");
    }

    private string[] ShardsOf(string index)
    {
        try
        {
            using JsonDocument document = StrictJson.Parse(System.IO.File.ReadAllBytes(index));
            if (document.RootElement.ValueKind != JsonValueKind.Object
                || !document.RootElement.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
            {
                throw FineTuneException.Failed($"{index} has no weight_map object that says which tensor lies in which file; download it again.");
            }

            string[] names = [.. map.EnumerateObject().Select(p => p.Value.ValueKind == JsonValueKind.String ? p.Value.GetString()! : p.Value.GetRawText()).Distinct().Order(StringComparer.Ordinal)];
            foreach (string name in names)
            {
                if (!name.EndsWith(".safetensors", StringComparison.Ordinal) || name != System.IO.Path.GetFileName(name))
                    throw FineTuneException.Failed($"{index} points at '{name}', expected the name of a .safetensors file in the same directory.");
                if (!System.IO.File.Exists(File(name)))
                    throw FineTuneException.Failed($"{index} names {name}, which is not in {Path}; the download is incomplete.");
            }

            return [.. names.Select(File)];
        }
        catch (JsonException e)
        {
            throw FineTuneException.Failed($"{index} is not valid JSON ({e.Message}).", e);
        }
    }

    /// <summary>The snapshot inside a Hugging Face cache folder: the commit that refs/main names, else the newest; null when it is no cache folder.</summary>
    private static string? Snapshot(string path)
    {
        string snapshots = System.IO.Path.Combine(path, "snapshots");
        if (!Directory.Exists(snapshots)) return null;
        string main = System.IO.Path.Combine(path, "refs", "main");
        if (System.IO.File.Exists(main))
        {
            string commit = System.IO.Path.Combine(snapshots, System.IO.File.ReadAllText(main).Trim());
            if (Directory.Exists(commit)) return System.IO.Path.GetFullPath(commit);
        }

        string? newest = Directory.EnumerateDirectories(snapshots).OrderByDescending(Directory.GetLastWriteTimeUtc).FirstOrDefault();
        return newest is null ? null : System.IO.Path.GetFullPath(newest);
    }

    private static string CacheRoot()
    {
        if (Environment.GetEnvironmentVariable("HF_HUB_CACHE") is { Length: > 0 } hub) return hub;
        if (Environment.GetEnvironmentVariable("HF_HOME") is { Length: > 0 } home) return System.IO.Path.Combine(home, "hub");
        return System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "huggingface", "hub");
    }
}
