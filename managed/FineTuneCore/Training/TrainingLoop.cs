using FineTuneCore.Backends;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Training;

/// <summary>Numbers of one finished step.</summary>
internal readonly record struct StepResult(double Loss, double LearningRate, double GradientNorm, int Tokens, int TrainedTokens, bool Skipped);

/// <summary>
/// One optimiser step: micro-batches forward and backward, clip, update. The loss of a step is weighted by the trained tokens of
/// all its micro-batches, so accumulation and packing change nothing but time. Allocates nothing.
/// </summary>
internal sealed class TrainingLoop : IDisposable
{
    private readonly IBackend _backend;
    private readonly DecoderWeights _weights;
    private readonly Decoder _decoder;
    private readonly BatchSource _batches;
    private readonly FineTuneOptions _options;
    private readonly LearningRateSchedule _schedule;
    private readonly DeviceBuffer _sum;
    private readonly float[] _nll;
    private readonly float[] _sumOfSquares = new float[1];

    internal TrainingLoop(DecoderWeights weights, Decoder decoder, BatchSource batches, FineTuneOptions options, LearningRateSchedule schedule)
    {
        (_backend, _weights, _decoder, _batches, _options, _schedule) = (weights.Backend, weights, decoder, batches, options, schedule);
        _sum = _backend.Allocate(64, "the gradient norm");
        _nll = new float[decoder.MaxRows];
    }

    /// <summary>Runs step number <paramref name="step"/> (from 0); <paramref name="updates"/> counts the updates before it.</summary>
    internal StepResult Run(int step, int updates)
    {
        ParameterStore parameters = _weights.Parameters;
        _backend.Zero(parameters.FlatGradients(0, parameters.FlatCount));
        int trained = _batches.TrainedTokensOf(step), tokens = 0;
        double loss = 0;
        for (int m = 0; m < _batches.MicroBatchesOf(step); m++)
        {
            TokenBatch batch = _batches.Fill(step, m);
            _decoder.ForwardBackward(in batch, 1f / trained, (uint)step, _nll);
            for (int i = 0; i < batch.Rows; i++) loss += _nll[i];
            tokens += batch.Rows;
        }

        loss /= trained;
        double norm = GradientNorm();
        double rate = _schedule.At(step);
        bool finite = double.IsFinite(norm) && double.IsFinite(loss);
        if (finite) Update(rate, norm, updates + 1);
        return new StepResult(loss, rate, norm, tokens, trained, !finite);
    }

    private double GradientNorm()
    {
        Tensor sum = Tensor.Vector(_sum, 0, 1);
        _backend.SumOfSquares(sum, _weights.Parameters.FlatGradients(0, _weights.Parameters.FlatCount));
        _backend.Download<float>(_sumOfSquares, sum);
        return Math.Sqrt(_sumOfSquares[0]);
    }

    private void Update(double rate, double norm, int update)
    {
        ParameterStore p = _weights.Parameters;
        float scale = _options.ClipNorm > 0 ? (float)Math.Min(1, _options.ClipNorm / (norm + 1e-6)) : 1;
        for (int g = 0; g < p.Groups.Count; g++)
        {
            (ParameterGroup group, long offset, long count) = p.Groups[g];
            float groupRate = (float)(rate * group.LearningRateMultiplier);
            float decay = group.Decays ? (float)_options.WeightDecay : 0;
            Tensor values = p.FlatValues(offset, count), gradients = p.FlatGradients(offset, count), m = p.FlatFirstMoments(offset, count);
            if (_options.Optimizer == OptimizerKind.Sgd)
            {
                _backend.SgdStep(values, m, gradients, new SgdArguments(groupRate, (float)_options.Beta1, decay, scale));
                continue;
            }

            var arguments = new AdamWArguments(groupRate, (float)_options.Beta1, (float)_options.Beta2, (float)_options.Epsilon, decay, scale, update);
            if (p.State == OptimizerState.TwoMoments8Bit)
            {
                _backend.AdamW8BitStep(
                    values, p.FlatCodes(0, offset, count), p.FlatCodes(1, offset, count), p.FlatAbsmax(0, offset, count), p.FlatAbsmax(1, offset, count),
                    gradients, p.FirstMap, p.SecondMap, in arguments);
                continue;
            }

            _backend.AdamWStep(values, m, p.FlatSecondMoments(offset, count), gradients, in arguments);
        }

        _weights.ParametersChanged();
    }

    public void Dispose() => _sum.Dispose();
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
