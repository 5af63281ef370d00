namespace FineTuneCore.Files;

/// <summary>The tensors of one or many safetensors files under their names, with checks whose messages name file and tensor.</summary>
internal sealed unsafe class TensorFiles : IDisposable
{
    private readonly List<SafetensorsFile> _files = [];
    private readonly Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> _tensors = [];
    private readonly HashSet<string> _read = [];

    private TensorFiles()
    {
    }

    /// <summary>Opens the files; a tensor that two of them hold is an error.</summary>
    internal static TensorFiles Open(params string[] paths)
    {
        var files = new TensorFiles();
        try
        {
            foreach (string path in paths)
            {
                SafetensorsFile file = SafetensorsFile.Open(path);
                files._files.Add(file);
                foreach (TensorEntry entry in file.Header.Tensors.Values)
                {
                    if (!files._tensors.TryAdd(entry.Name, (file, entry)))
                        throw FineTuneException.Failed($"{path} holds tensor '{entry.Name}', which {files._tensors[entry.Name].File.Path} holds too.");
                }
            }

            return files;
        }
        catch
        {
            files.Dispose();
            throw;
        }
    }

    internal IEnumerable<string> Names => _tensors.Keys;

    /// <summary>Names never asked for by <see cref="Find"/>: weights a loader did not know.</summary>
    internal IEnumerable<string> Unread => _tensors.Keys.Where(name => !_read.Contains(name));

    internal bool Contains(string name) => _tensors.ContainsKey(name);

    /// <summary>The tensor's entry, or null.</summary>
    internal TensorEntry? Find(string name)
    {
        if (!_tensors.TryGetValue(name, out (SafetensorsFile File, TensorEntry Entry) found)) return null;
        _read.Add(name);
        return found.Entry;
    }

    /// <summary>The tensor's entry.</summary>
    /// <exception cref="FineTuneException">It is missing.</exception>
    internal TensorEntry Require(string name) => Find(name) ?? throw Missing(name);

    /// <summary>The tensor's entry with exactly this shape.</summary>
    internal TensorEntry Require(string name, params long[] shape)
    {
        TensorEntry entry = Require(name);
        if (!entry.Shape.AsSpan().SequenceEqual(shape))
        {
            throw FineTuneException.Failed(
                $"{FileOf(name)}: tensor '{name}' has shape {entry.ShapeText}, expected [{string.Join(", ", shape)}] from config.json; the weights and the config belong to different models.");
        }

        return entry;
    }

    internal byte* Address(string name) => _tensors[name].File.Address(_tensors[name].Entry);

    internal ReadOnlySpan<byte> Bytes(string name) => _tensors[name].File.Bytes(_tensors[name].Entry);

    internal string FileOf(string name) => _tensors.TryGetValue(name, out (SafetensorsFile File, TensorEntry Entry) found) ? found.File.Path : FilesText;

    private string FilesText => string.Join(", ", _files.Select(f => f.Path));

    private FineTuneException Missing(string name)
    {
        string stem = name[(name.LastIndexOf('.', name.Length - 8 > 0 ? name.Length - 8 : 0) + 1)..];
        string? near = _tensors.Keys.Where(k => k.EndsWith(stem, StringComparison.Ordinal)).Order(StringComparer.Ordinal).FirstOrDefault();
        string hint = near is null ? "" : $" The nearest it holds is '{near}'.";
        return FineTuneException.Failed(
            $"{FilesText} has no tensor '{name}', which config.json calls for.{hint} The file is incomplete or of another architecture.");
    }

    public void Dispose()
    {
        foreach (SafetensorsFile file in _files) file.Dispose();
        _files.Clear();
    }
}
