using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>What an op of a step needs beside its tensors.</summary>
internal readonly record struct StepContext(IBackend Backend, Workspace Workspace, DropoutRows Dropout, bool Training, WeightsAhead? Ahead = null);

/// <summary>
/// y = x Ŵᵀ + b + s · drop(x) Aᵀ Bᵀ, and its gradients: a frozen weight in any format with an optional adapter, or a trained fp32 weight.
/// </summary>
internal sealed class LinearLayer
{
    private readonly ParameterStore _store;

    internal LinearLayer(ParameterStore store, string module, WeightMatrix weight, Tensor bias)
    {
        _store = store;
        Module = module;
        Weight = weight;
        Bias = bias;
    }

    internal string Module { get; }

    internal WeightMatrix Weight { get; }

    internal Tensor Bias { get; }

    internal LoraLayer? Lora { get; init; }

    /// <summary>Set when the weight itself is trained.</summary>
    internal Parameter? TrainedWeight { get; init; }

    internal Parameter? TrainedBias { get; init; }

    internal int Rank => Lora?.Rank ?? 0;

    internal bool IsTrained => Lora is not null || TrainedWeight is not null || TrainedBias is not null;

    /// <summary>y [rows, out], x [rows, in]; s [rows, rank] keeps drop(x) Aᵀ for backward.</summary>
    internal void Forward(in StepContext step, Tensor y, Tensor x, Tensor s)
    {
        LoraSegmentArguments segment = Lora is null ? default : Segment(Lora, x.Rows, s, in step, withGradients: false);
        ReadOnlySpan<LoraSegmentArguments> segments = Lora is null ? [] : new(in segment);
        WeightMatrix weight = step.Ahead?.Take(Weight) ?? Weight;
        step.Backend.LinearForward(y, x, weight, Bias, segments, step.Dropout, accumulate: false, step.Workspace);
        step.Ahead?.Release(Weight);
    }

    /// <summary>dx (none to skip, added to when accumulate) and the gradients of what is trained, which are added to.</summary>
    internal void Backward(in StepContext step, Tensor dx, Tensor dy, Tensor x, Tensor s, bool accumulate)
    {
        LoraSegmentArguments segment = Lora is null ? default : Segment(Lora, dy.Rows, s, in step, withGradients: true);
        ReadOnlySpan<LoraSegmentArguments> segments = Lora is null ? [] : new(in segment);
        Tensor dweight = TrainedWeight is null ? default : _store.Gradient(TrainedWeight);
        Tensor dbias = TrainedBias is null ? default : _store.Gradient(TrainedBias);
        if (dx.IsNone && segments.Length == 0 && dweight.IsNone && dbias.IsNone) return;
        WeightsAhead? ahead = dx.IsNone ? null : step.Ahead;
        WeightMatrix weight = ahead?.Take(Weight) ?? Weight;
        step.Backend.LinearBackward(dx, dweight, dbias, dy, x, weight, segments, step.Dropout, accumulate, step.Workspace);
        ahead?.Release(Weight);
    }

    private LoraSegmentArguments Segment(LoraLayer lora, long rows, Tensor s, in StepContext step, bool withGradients) => new(
        0, rows, lora.Rank, lora.Scaling, _store.Value(lora.A), _store.Value(lora.B), s,
        withGradients ? _store.Gradient(lora.A) : default, withGradients ? _store.Gradient(lora.B) : default,
        step.Training ? lora.DropoutProbability : 0, lora.DropoutSeed);
}
