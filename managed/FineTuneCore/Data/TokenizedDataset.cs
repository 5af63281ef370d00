namespace FineTuneCore.Data;

/// <summary>Tokenised samples: 5 bytes a token, in memory while they are few and in a temporary file beyond that, no object per sample.</summary>
internal sealed class TokenizedDataset
{
    private readonly TokenPool _pool = new(TokenPool.DefaultBytesInMemory);
    private readonly List<int> _lines = [];
    private readonly List<string> _files = [];
    private readonly List<int> _fileOf = [];

    /// <summary>Number of samples.</summary>
    public int Count => _pool.Count;

    /// <summary>Tokens of all samples.</summary>
    public long Tokens { get; private set; }

    /// <summary>What became of the rows; null where samples were added one by one.</summary>
    public EncodingReport? Report { get; private set; }

    /// <summary>Reads and encodes files.</summary>
    /// <exception cref="DataException">Rows are broken or cannot be trained on, or nothing is left; the message lists the first of them.</exception>
    public static TokenizedDataset Load(IEnumerable<string> files, ExampleEncoder encoder, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(files);
        ArgumentNullException.ThrowIfNull(encoder);
        var result = new TokenizedDataset { Report = encoder.Report };
        var errors = new DataErrors();
        string last = "";
        foreach (string file in files)
        {
            last = file;
            foreach (Example example in DatasetReader.Read(file, errors))
            {
                cancellation.ThrowIfCancellationRequested();
                try
                {
                    foreach (TokenizedExample sample in encoder.Encode(example))
                        result.Add(sample);
                }
                catch (DataException e)
                {
                    errors.Add(e);
                }
            }
        }
        errors.ThrowIfAny();
        if (result.Count == 0)
            throw new DataException(
                $"{last}: no sample is left ({encoder.Report.Dropped} were dropped as too long); raise --sequence-length or choose --overflow truncate");
        return result;
    }

    /// <summary>Adds one sample.</summary>
    public void Add(TokenizedExample sample)
    {
        ArgumentNullException.ThrowIfNull(sample);
        _pool.Add(sample.Ids, sample.LossMask);
        Tokens += sample.Ids.Length;
        _lines.Add(sample.Source.Line);
        if (_files.Count == 0 || _files[^1] != sample.Source.File)
            _files.Add(sample.Source.File);
        _fileOf.Add(_files.Count - 1);
    }

    /// <summary>Token ids of a sample, valid until another sample is asked for.</summary>
    public ReadOnlySpan<int> IdsOf(int sample) => _pool.IdsOf(sample);

    /// <summary>Loss mask of a sample: 1 where a token is trained. Valid until another sample is asked for.</summary>
    public ReadOnlySpan<byte> MaskOf(int sample) => _pool.MaskOf(sample);

    /// <summary>Tokens of a sample.</summary>
    public int LengthOf(int sample) => _pool.LengthOf(sample);

    /// <summary>Where a sample is from.</summary>
    public SourceLocation SourceOf(int sample) => new(_files[_fileOf[sample]], _lines[sample]);
}
