using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>Tokens laid end to end with what each row needs to know; arrays may be longer than <c>Rows</c>.</summary>
internal readonly ref struct TokenBatch
{
    internal required int Rows { get; init; }

    internal required ReadOnlySpan<int> Ids { get; init; }

    /// <summary>Position of each row within its sample.</summary>
    internal required ReadOnlySpan<int> Positions { get; init; }

    /// <summary>Next token, or -100 where it is not trained. Empty when no loss is wanted.</summary>
    internal ReadOnlySpan<int> Targets { get; init; }

    /// <summary>First row of each row's sample.</summary>
    internal required ReadOnlySpan<int> SegmentStarts { get; init; }

    /// <summary>Number of each row's sample, for the dropout generator. Empty when nothing drops.</summary>
    internal ReadOnlySpan<int> Samples { get; init; }

    /// <summary>Rows that are tokens; those behind them pad the batch and are not trained.</summary>
    internal int Tokens { get; init; }
}

/// <summary>
/// A decoder bound to memory for passes of up to MaxRows tokens: forward, loss and backward, block by block, no graph. Holds views
/// only; weights and trained parameters belong to <see cref="DecoderWeights"/>.
/// </summary>
internal sealed class Decoder : IDisposable
{
    private readonly IBackend _backend;
    private readonly DecoderWeights _weights;
    private readonly BufferPlanner _planner;
    private readonly DeviceBuffer _arena;
    private readonly DeviceBuffer _tables;
    private readonly Tensor _cos;
    private readonly Tensor _sin;
    private readonly LayerBuffers[] _layers;
    private readonly ScratchBuffers _scratch;
    private readonly HeadBuffers _head;
    private readonly BatchBuffers _batch;
    private readonly Workspace _workspace;
    private readonly Workspace _wholeWorkspace;
    private readonly WeightsAhead? _ahead;
    private readonly int[] _windows;
    private readonly int[] _windowOfLayer;
    private readonly int[] _keyBegin;
    private readonly int _firstTrained;
    private static readonly DropoutRows NoDropout = default;
    private byte[]? _logits; // bf16, on their way to fp32

    /// <summary>Allocates the arena for up to maxRows tokens at once and positions 0 … maxPositions - 1.</summary>
    /// <exception cref="FineTuneException">It does not fit.</exception>
    internal Decoder(DecoderWeights weights, BufferMode mode, int maxRows, int maxPositions)
    {
        (_backend, _weights) = (weights.Backend, weights);
        ModelConfig config = weights.Config;
        _windows = [.. config.SlidingWindow.Distinct()];
        _windowOfLayer = [.. config.SlidingWindow.Select(w => Array.IndexOf(_windows, w))];
        _planner = new BufferPlanner(weights.Plan, mode, maxRows);
        _arena = _backend.Allocate(_planner.Plan.Bytes, $"the activations of {maxRows} tokens");
        RopeTables tables = RopeTables.Create(config, maxPositions);
        _tables = _backend.Allocate(tables.Cos.Length * 8L, "the RoPE tables");
        _cos = new Tensor(_tables, 0, tables.Rows, tables.RopeDim / 2, tables.RopeDim / 2, DType.F32);
        _sin = _cos with { ByteOffset = tables.Cos.Length * 4L };
        _backend.Upload<float>(_cos, tables.Cos);
        _backend.Upload<float>(_sin, tables.Sin);

        _layers = [.. Enumerable.Range(0, config.NumHiddenLayers).Select(i => _planner.Layer(_arena, i))];
        _scratch = _planner.Scratch(_arena);
        _head = _planner.Head(_arena);
        _batch = _planner.Batch(_arena);
        _workspace = new Workspace(_planner.View(_arena, "workspace"), _planner.WorkspaceBytes);
        _keyBegin = new int[maxRows];
        _firstTrained = Array.FindIndex(weights.Blocks, b => b.Linears.Any(l => l.IsTrained) || b.Norms.Any(n => n.Trained is not null));
        if (weights.EmbeddingParameter is not null) _firstTrained = 0;
        _wholeWorkspace = new Workspace(_workspace.Memory, _planner.WholeWorkspaceBytes);
        if (_planner.Ahead) _ahead = new WeightsAhead(weights, _planner.AheadMatrices(_arena), _firstTrained, mode == BufferMode.TrainingCheckpointed, maxRows);
    }

    internal ModelConfig Config => _weights.Config;

    internal int MaxRows => _planner.MaxRows;

    /// <summary>
    /// Loss of every row (0 where the target is ignored) into <paramref name="nll"/>, nothing kept for backward. <paramref name="predictions"/>
    /// gets each row's most probable token, -1 where ignored; empty when not wanted.
    /// </summary>
    internal void Evaluate(in TokenBatch batch, Span<float> nll, Span<int> predictions = default)
    {
        Load(in batch);
        ForwardBlocks(training: false, NoDropout);
        Loss(TrainedRows(in batch), gradientScale: 0, default, wantGradient: false, !predictions.IsEmpty);
        _backend.Download(nll[..batch.Rows], _head.Nll);
        if (!predictions.IsEmpty) _backend.Download(predictions[..batch.Rows], _head.Predictions);
        _backend.Synchronize(); // what only the device could see is reported here
    }

    /// <summary>
    /// Forward, loss and backward. Gradients of Σ nll · gradientScale are added to the parameter store; nll per row comes back.
    /// </summary>
    internal void ForwardBackward(in TokenBatch batch, float gradientScale, uint dropoutStep, Span<float> nll)
    {
        Load(in batch);
        DropoutRows dropout = batch.Samples.IsEmpty ? NoDropout : new DropoutRows(_batch.Samples, _batch.Positions, dropoutStep);
        BlockInputs inputs = ForwardBlocks(training: true, in dropout);
        Loss(TrainedRows(in batch), gradientScale, default, wantGradient: true, wantPredictions: false);
        Backward(inputs);
        _backend.Download(nll[..batch.Rows], _head.Nll);
        _backend.Synchronize();
    }

    /// <summary>
    /// Enqueues the same for a batch of <paramref name="rows"/> that <see cref="Load"/> has put in place, scale and dropout step taken from the
    /// device. Nothing is waited for, and calls with equal arguments enqueue the same work, so that it can be recorded.
    /// </summary>
    /// <param name="rows">Rows of the batch.</param>
    /// <param name="trainedRows">At most so many are trained.</param>
    /// <param name="stepNumbers"><see cref="StepNumbers"/>.</param>
    internal void EnqueueForwardBackward(int rows, int trainedRows, Tensor stepNumbers)
    {
        Cut(rows);
        var dropout = new DropoutRows(_batch.Samples, _batch.Positions, 0, stepNumbers);
        BlockInputs inputs = ForwardBlocks(training: true, in dropout);
        Loss(trainedRows, gradientScale: 0, stepNumbers, wantGradient: true, wantPredictions: false);
        Backward(inputs);
    }

    /// <summary>Losses of the last pass over so many rows, as a vector.</summary>
    internal Tensor Losses(int rows) => Tensor.Vector(_head.Nll.Buffer!, _head.Nll.ByteOffset, rows);

    /// <summary>Puts a batch with targets where the passes read it.</summary>
    internal void Load(in TokenBatch batch)
    {
        if (batch.Targets.IsEmpty) throw new ArgumentException("a loss needs targets", nameof(batch));
        Place(in batch, past: 0);
        _backend.Upload(_batch.Targets, batch.Targets[..batch.Rows]);
    }

    /// <summary>Runs rows after what the cache holds, adds them to it, and gives the logits of the last row, [vocab size].</summary>
    internal void ForwardCached(KeyValueCache cache, ReadOnlySpan<int> ids, Span<float> lastLogits)
    {
        int past = cache.Length, rows = ids.Length;
        if (past + rows > cache.Capacity) throw new InvalidOperationException($"the cache holds {cache.Capacity} positions, {past + rows} were asked for");
        Span<int> positions = cache.Positions.AsSpan(0, rows);
        for (int i = 0; i < rows; i++) positions[i] = past + i;
        Span<int> starts = cache.Starts.AsSpan(0, rows);
        Place(new TokenBatch { Rows = rows, Ids = ids, Positions = positions, SegmentStarts = starts }, past);
        RunBlocks(Inputs(training: false, NoDropout), cache, past);
        cache.Length = past + rows;
        FinalNorm();
        LogitsOf(rows - 1, lastLogits);
    }

    /// <summary>Logits of one row of the last <see cref="Evaluate"/>, [vocab size].</summary>
    internal void LogitsOf(int row, Span<float> logits)
    {
        DType dtype = _weights.Plan.Activations;
        Tensor y = _planner.View(_arena, "workspace") with { Rows = 1, Columns = Config.VocabSize, RowStride = Config.VocabSize, DType = dtype };
        // The logits borrow the workspace's tail; the linear op gets the part before it.
        long bytes = Config.VocabSize * 4L;
        long offset = (_planner.WorkspaceBytes - bytes) / 64 * 64;
        y = y with { ByteOffset = y.ByteOffset + offset };
        var workspace = new Workspace(_workspace.Memory, offset);
        _backend.LinearForward(y, _head.Norm.RowBlock(row, 1), _weights.Head, default, [], NoDropout, accumulate: false, in workspace);
        if (dtype == DType.F32)
        {
            _backend.Download(logits[..Config.VocabSize], y);
        }
        else
        {
            _logits ??= new byte[Config.VocabSize * dtype.Size()];
            _backend.Download<byte>(_logits, y);
            FloatConversion.ToF32(logits[..Config.VocabSize], _logits, ElementType.BF16);
        }

        _backend.Synchronize(); // what only the device could see is reported here
    }

    private static int TrainedRows(in TokenBatch batch) => batch.Rows - batch.Targets[..batch.Rows].Count(-100);

    private BlockInputs ForwardBlocks(bool training, in DropoutRows dropout)
    {
        BlockInputs inputs = Inputs(training, in dropout);
        RunBlocks(inputs, cache: null, past: 0);
        FinalNorm();
        return inputs;
    }

    private BlockInputs Inputs(bool training, in DropoutRows dropout)
    {
        WeightsAhead? ahead = _batch.Ids.Rows > _weights.Plan.PackedRows ? _ahead : null;
        var step = new StepContext(_backend, ahead is null ? _wholeWorkspace : _workspace, dropout, training, ahead);
        return new BlockInputs(step, _batch.Positions, _cos, _sin, default, _scratch);
    }

    /// <summary>Makes every view one of so many rows; their memory begins where it always does.</summary>
    private void Cut(int rows)
    {
        if (rows < 1 || rows > MaxRows) throw new ArgumentOutOfRangeException(nameof(rows), $"a batch of {rows} rows, planned for 1 to {MaxRows}");
        foreach (LayerBuffers layer in _layers) layer.Cut(rows);
        _scratch.Cut(rows);
        _head.Cut(rows);
        _batch.Cut(rows);
    }

    private void Place(in TokenBatch batch, int past)
    {
        int rows = batch.Rows;
        Cut(rows);
        _backend.Upload(_batch.Ids, batch.Ids[..rows]);
        _backend.Upload(_batch.Positions, batch.Positions[..rows]);
        if (!batch.Samples.IsEmpty) _backend.Upload(_batch.Samples, batch.Samples[..rows]);
        for (int w = 0; w < _windows.Length; w++)
        {
            for (int i = 0; i < rows; i++)
                _keyBegin[i] = _windows[w] == 0 ? batch.SegmentStarts[i] : Math.Max(batch.SegmentStarts[i], past + i - _windows[w] + 1);
            _backend.Upload<int>(_batch.KeyBegin[w], _keyBegin.AsSpan(0, rows));
        }
    }

    private void RunBlocks(BlockInputs inputs, KeyValueCache? cache, int past)
    {
        LayerRing? ring = _weights.Ring;
        ring?.Begin();
        inputs.Step.Ahead?.Begin(inputs.Step.Training);
        _backend.EmbeddingForward(_layers[0].Sum1, _batch.Ids, _weights.Embedding);
        for (int i = 0; i < _layers.Length; i++)
        {
            inputs = inputs with { KeyBegin = _batch.KeyBegin[_windowOfLayer[i]] };
            Tensor residual = i == 0 ? _layers[0].Sum1 : _layers[i - 1].Sum2;
            Tensor delta = i == 0 ? default : _scratch.Delta;
            ring?.Enter(i);
            _weights.Blocks[i].Forward(
                in inputs, _layers[i], residual, delta, cache is null ? default : cache.Keys[i], cache is null ? default : cache.Values[i], past);
            ring?.Leave(i, 1);
        }
    }

    private void FinalNorm()
    {
        Tensor rstd = _planner.Mode == BufferMode.Inference ? default : _head.Rstd;
        _backend.RmsNormForward(
            _head.Norm, _head.Sum, rstd, _layers[^1].Sum2, _scratch.Delta, _weights.FinalNorm.Weight, 1, Config.RmsNormEps);
    }

    private void Loss(int trainedRows, float gradientScale, Tensor stepNumbers, bool wantGradient, bool wantPredictions)
    {
        Tensor dweight = wantGradient && _weights.HeadParameter is { } head ? _weights.Parameters.Gradient(head) : default;
        _backend.LinearCrossEntropy(
            _head.Nll, wantPredictions ? _head.Predictions : default, wantGradient ? _scratch.DNorm : default, dweight, _head.Norm,
            _weights.Head, _batch.Targets, trainedRows, gradientScale, stepNumbers, in _workspace);
    }

    private void Backward(BlockInputs inputs)
    {
        NormLayer norm = _weights.FinalNorm;
        Tensor dweight = norm.Trained is null ? default : _weights.Parameters.Gradient(norm.Trained);
        _backend.RmsNormBackward(_scratch.Gradient, dweight, _scratch.DNorm, default, _head.Sum, _head.Rstd, norm.Weight, 1, Config.RmsNormEps);
        bool embeds = _weights.EmbeddingParameter is not null;
        if (_firstTrained < 0) return;
        for (int i = _layers.Length - 1; i >= _firstTrained; i--)
        {
            inputs = inputs with { KeyBegin = _batch.KeyBegin[_windowOfLayer[i]] };
            _weights.Ring?.Enter(i);
            // Shared buffers still hold the last block; the others are computed again from their input.
            if (_planner.Mode == BufferMode.TrainingCheckpointed && i < _layers.Length - 1)
                _weights.Blocks[i].Forward(in inputs, _layers[i], _layers[i].Sum1, default, default, default, 0);
            _weights.Blocks[i].Backward(in inputs, _layers[i], inputGradient: i > _firstTrained || embeds);
            _weights.Ring?.Leave(i, -1);
        }

        if (embeds) _backend.EmbeddingBackward(_weights.Parameters.Gradient(_weights.EmbeddingParameter!), _scratch.Gradient, _batch.Ids);
    }

    public void Dispose()
    {
        _ahead?.Dispose();
        _arena.Dispose();
        _tables.Dispose();
    }
}
