using FineTuneCore.Backends;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Training;

/// <summary>Numbers of one finished step.</summary>
internal readonly record struct StepResult(double Loss, double LearningRate, double GradientNorm, int Tokens, int TrainedTokens, bool Skipped);

/// <summary>
/// One optimiser step: micro-batches forward and backward, clip, update. The loss of a step is weighted by the trained tokens of
/// all its micro-batches, so accumulation and packing change nothing but time. Nothing is asked of the device before the step is done: its
/// numbers stand in device memory, and the device decides about clipping and about skipping. Allocates nothing.
/// </summary>
internal sealed class TrainingLoop : IDisposable
{
    // Where work is recorded by shape there should be few: rows, and among them trained ones, are rounded up to multiples.
    private const int RowStep = 256;
    private const int TrainedRowSteps = 8; // at most, of a micro-batch

    private readonly IBackend _backend;
    private readonly DecoderWeights _weights;
    private readonly Decoder _decoder;
    private readonly BatchSource _batches;
    private readonly FineTuneOptions _options;
    private readonly LearningRateSchedule _schedule;
    private readonly StepMemory _memory;
    private readonly StepGraphs _graphs;
    private readonly int _trainedRowStep = 1;
    private readonly Action<PartShape> _enqueuePass;
    private readonly Action<PartShape> _enqueueUpdate;

    /// <param name="weights">What is trained.</param>
    /// <param name="decoder">The model, with memory for the batches.</param>
    /// <param name="batches">Their source; padded to few shapes where the device records work, used or not: the same bits either way.</param>
    /// <param name="options">Optimiser, clipping, graphs.</param>
    /// <param name="schedule">Learning rates.</param>
    /// <param name="report">Told when graphs cannot be used after all.</param>
    internal TrainingLoop(
        DecoderWeights weights, Decoder decoder, BatchSource batches, FineTuneOptions options, LearningRateSchedule schedule, Action<string>? report = null)
    {
        (_backend, _weights, _decoder, _batches, _options, _schedule) = (weights.Backend, weights, decoder, batches, options, schedule);
        (_enqueuePass, _enqueueUpdate) = (EnqueuePass, EnqueueUpdate);
        if (_backend.CapturesGraphs)
        {
            batches.PadTo = RowStep;
            _trainedRowStep = Math.Max(RowStep, RoundUp(batches.MaxRows / TrainedRowSteps, RowStep));
        }

        _memory = new StepMemory(_backend, weights.Parameters.Groups.Count, batches.MostMicroBatches, batches.MaxRows);
        _graphs = new StepGraphs(_backend, _backend.CapturesGraphs && options.CudaGraphs != CudaGraphs.Off, report ?? (_ => { }));
    }

    /// <summary>Parts of steps that run as graphs.</summary>
    internal int GraphCount => _graphs.Count;

    /// <summary>Runs step number <paramref name="step"/> (from 0); <paramref name="updates"/> counts the updates before it.</summary>
    internal StepResult Run(int step, int updates)
    {
        ParameterStore parameters = _weights.Parameters;
        int trained = _batches.TrainedTokensOf(step), microBatches = _batches.MicroBatchesOf(step), tokens = 0;
        double rate = _schedule.At(step);
        SetNumbers(1f / trained, (uint)step, rate, updates + 1);
        _memory.Begin();
        _backend.Zero(parameters.FlatGradients(0, parameters.FlatCount));
        for (int m = 0; m < microBatches; m++)
        {
            TokenBatch batch = _batches.Fill(step, m);
            _decoder.Load(in batch);
            var shape = new PartShape(batch.Rows, MostTrained(in batch));
            if (_weights.Ring is null) _graphs.Run(shape, _enqueuePass);
            else EnqueuePass(shape); // which layers the device holds differs from pass to pass
            _backend.Copy(_memory.LossesOf(m, batch.Rows), _decoder.Losses(batch.Rows));
            tokens += batch.Tokens;
        }

        if (trained > 0) _graphs.Run(default, _enqueueUpdate);
        _memory.Download(microBatches);
        double loss = 0;
        for (int m = 0; m < microBatches; m++)
            foreach (float nll in _memory.DownloadedLossesOf(m, _batches.MaxRows)) loss += nll;
        loss /= trained;
        double norm = trained > 0 ? Math.Sqrt(_memory.SumOfSquares) : 0;
        return new StepResult(loss, rate, norm, tokens, trained, Skipped: !double.IsFinite(norm) || !double.IsFinite(loss));
    }

    private static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;

    /// <summary>At most so many rows of a batch are trained: the exact number, or one of few above it.</summary>
    private int MostTrained(in TokenBatch batch)
    {
        int trained = batch.Rows - batch.Targets[..batch.Rows].Count(-100);
        return _trainedRowStep == 1 ? trained : Math.Min(RoundUp(Math.Max(trained, 1), _trainedRowStep), batch.Rows);
    }

    private void SetNumbers(float lossScale, uint step, double rate, int update)
    {
        _memory.Set(new StepNumbers(lossScale, step, 1, 0));
        for (int g = 0; g < _weights.Parameters.Groups.Count; g++)
        {
            ParameterGroup group = _weights.Parameters.Groups[g].Group;
            float groupRate = (float)(rate * group.LearningRateMultiplier);
            _memory.Set(g, _backend.AdamWNumbers(AdamW(group, g) with { LearningRate = groupRate, Step = update }));
        }
    }

    private void EnqueuePass(PartShape shape) => _decoder.EnqueueForwardBackward(shape.Rows, shape.TrainedRows, _memory.Step);

    /// <summary>The gradients' norm, clipping, and the update of every group.</summary>
    private void EnqueueUpdate(PartShape shape)
    {
        ParameterStore p = _weights.Parameters;
        _backend.SumOfSquares(_memory.Sum, p.FlatGradients(0, p.FlatCount));
        _backend.ClipGradients(_memory.Step, _memory.Sum, _memory.Losses, (float)_options.ClipNorm);
        for (int g = 0; g < p.Groups.Count; g++)
        {
            (ParameterGroup group, long offset, long count) = p.Groups[g];
            Tensor values = p.FlatValues(offset, count), gradients = p.FlatGradients(offset, count);
            switch (p.State)
            {
                case OptimizerState.Velocity:
                    float decay = group.Decays ? (float)_options.WeightDecay : 0;
                    _backend.SgdStep(
                        values, p.FlatFirstMoments(offset, count), gradients,
                        new SgdArguments(0, (float)_options.Beta1, decay, 1, _memory.Step, _memory.Update(g)));
                    break;
                case OptimizerState.TwoMoments8Bit:
                    _backend.AdamW8BitStep(
                        values, p.FlatCodes(0, offset, count), p.FlatCodes(1, offset, count), p.FlatAbsmax(0, offset, count), p.FlatAbsmax(1, offset, count),
                        gradients, p.FirstMap, p.SecondMap, AdamW(group, g));
                    break;
                default:
                    _backend.AdamWStep(values, p.FlatFirstMoments(offset, count), p.FlatSecondMoments(offset, count), gradients, AdamW(group, g));
                    break;
            }
        }

        _weights.ParametersChanged();
    }

    /// <summary>An update whose learning rate, decay and corrections stand on the device.</summary>
    private AdamWArguments AdamW(ParameterGroup group, int index) => new(
        0, (float)_options.Beta1, (float)_options.Beta2, (float)_options.Epsilon, group.Decays ? (float)_options.WeightDecay : 0, 1, Step: 1,
        _memory.Step, _memory.Update(index));

    public void Dispose()
    {
        _graphs.Dispose();
        _memory.Dispose();
    }
}

/// <summary>Mean loss over a validation set.</summary>
internal sealed class Validation(Decoder decoder, BatchSource batches)
{
    private readonly float[] _nll = new float[decoder.MaxRows];

    /// <summary>Mean negative log likelihood per trained token.</summary>
    /// <exception cref="OperationCanceledException">Cancelled between two micro-batches.</exception>
    internal double Loss(CancellationToken cancellation)
    {
        double sum = 0;
        for (int m = 0; m < batches.MicroBatches; m++)
        {
            cancellation.ThrowIfCancellationRequested();
            TokenBatch batch = batches.Fill(m, 0);
            decoder.Evaluate(in batch, _nll);
            for (int i = 0; i < batch.Rows; i++) sum += _nll[i];
        }

        return sum / batches.TrainedTokens;
    }
}
