using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Tests.Models;

/// <summary>A loaded model with everything it needs, for tests.</summary>
internal sealed class TinyModel : IDisposable
{
    private TinyModel(NativeBackend backend, DecoderWeights weights) => (Backend, Weights) = (backend, weights);

    internal NativeBackend Backend { get; }

    internal DecoderWeights Weights { get; }

    internal static TinyModel Load(string directory, WeightOptions? options = null, int threads = 0)
    {
        var backend = new NativeBackend(threads);
        ModelDirectory model = ModelDirectory.Resolve(directory);
        return new TinyModel(backend, DecoderWeights.Load(model, ModelConfig.Load(model.ConfigPath), backend, options ?? new WeightOptions()));
    }

    internal Decoder Decoder(BufferMode mode, int rows) => new(Weights, mode, rows, rows);

    /// <summary>One sequence as a batch with every next token as target.</summary>
    internal static TokenBatch Batch(int[] ids) => new()
    {
        Rows = ids.Length,
        Ids = ids,
        Positions = Enumerable.Range(0, ids.Length).ToArray(),
        Targets = ids.Skip(1).Append(-100).ToArray(),
        SegmentStarts = new int[ids.Length],
        Samples = new int[ids.Length],
    };

    public void Dispose()
    {
        Weights.Dispose();
        Backend.Dispose();
    }
}
