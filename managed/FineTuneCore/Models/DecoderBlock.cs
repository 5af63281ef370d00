using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>A norm's weight, and its parameter when it is trained.</summary>
internal sealed record NormLayer(Tensor Weight, Parameter? Trained);

/// <summary>What every block of one step reads: positions, RoPE tables, key intervals, shared scratch.</summary>
internal readonly record struct BlockInputs(
    StepContext Step, Tensor Positions, Tensor Cos, Tensor Sin, Tensor KeyBegin, ScratchBuffers Scratch);

/// <summary>
/// One pre-norm decoder block, forward and backward written out. The residual stream is the pair (sum, delta): a block's first norm
/// adds the previous block's delta, so no op exists only to add.
/// </summary>
internal sealed class DecoderBlock
{
    private readonly ModelConfig _config;
    private readonly ParameterStore _store;

    internal DecoderBlock(ModelConfig config, ParameterStore store)
    {
        _config = config;
        _store = store;
    }

    internal required NormLayer InputNorm { get; init; }

    internal required LinearLayer Q { get; init; }

    internal required LinearLayer K { get; init; }

    internal required LinearLayer V { get; init; }

    internal NormLayer? QNorm { get; init; }

    internal NormLayer? KNorm { get; init; }

    internal required LinearLayer O { get; init; }

    internal required NormLayer PostNorm { get; init; }

    internal required LinearLayer Gate { get; init; }

    internal required LinearLayer Up { get; init; }

    internal required LinearLayer Down { get; init; }

    internal IEnumerable<LinearLayer> Linears => [Q, K, V, O, Gate, Up, Down];

    /// <summary>The linears whose weights <see cref="Backward"/> reads, in its order.</summary>
    internal IEnumerable<LinearLayer> BackwardLinears(bool inputGradient) =>
        inputGradient || InputNorm.Trained is not null ? [Down, Gate, Up, O, Q, K, V] : [Down, Gate, Up, O];

    internal IEnumerable<NormLayer> Norms => ((NormLayer?[])[InputNorm, PostNorm, QNorm, KNorm]).OfType<NormLayer>();

    /// <summary>
    /// From residual + delta to Sum2 and Scratch.Delta. Without delta (the first block, a recomputation) residual is Sum1 itself.
    /// A cache, when given, receives this call's keys and values after <paramref name="past"/> earlier rows.
    /// </summary>
    internal void Forward(in BlockInputs inputs, LayerBuffers b, Tensor residual, Tensor delta, Tensor cacheK, Tensor cacheV, long past)
    {
        StepContext step = inputs.Step;
        IBackend backend = step.Backend;
        ScratchBuffers scratch = inputs.Scratch;
        long rows = residual.Rows;

        Tensor sum = delta.IsNone ? default : b.Sum1;
        backend.RmsNormForward(b.Norm1, sum, b.Rstd1, residual, delta, InputNorm.Weight, 1, _config.RmsNormEps);

        Tensor k = cacheK.IsNone ? b.K : cacheK.RowBlock(past, rows);
        Tensor v = cacheV.IsNone ? b.V : cacheV.RowBlock(past, rows);
        Q.Forward(in step, b.QPre, b.Norm1, b.SQ);
        K.Forward(in step, b.KPre.IsNone ? k : b.KPre, b.Norm1, b.SK);
        V.Forward(in step, v, b.Norm1, b.SV);
        if (QNorm is not null)
        {
            backend.RmsNormForward(b.Q, default, b.RstdQ, b.QPre, default, QNorm.Weight, _config.NumAttentionHeads, _config.RmsNormEps);
            backend.RmsNormForward(k, default, b.RstdK, b.KPre, default, KNorm!.Weight, _config.NumKeyValueHeads, _config.RmsNormEps);
        }

        backend.RopeForward(b.Q, inputs.Positions, inputs.Cos, inputs.Sin, _config.HeadDim);
        backend.RopeForward(k, inputs.Positions, inputs.Cos, inputs.Sin, _config.HeadDim);

        Tensor keys = cacheK.IsNone ? b.K : cacheK.FirstRows(past + rows);
        Tensor values = cacheV.IsNone ? b.V : cacheV.FirstRows(past + rows);
        backend.AttentionForward(b.Attention, b.Lse, b.Q, keys, values, inputs.KeyBegin, Shape(past), step.Workspace);
        O.Forward(in step, scratch.Delta, b.Attention, b.SO);

        backend.RmsNormForward(b.Norm2, b.Sum2, b.Rstd2, b.Sum1, scratch.Delta, PostNorm.Weight, 1, _config.RmsNormEps);
        Gate.Forward(in step, b.Gate, b.Norm2, b.SGate);
        Up.Forward(in step, b.Up, b.Norm2, b.SUp);
        backend.SwigluForward(scratch.Activated, b.Gate, b.Up);
        Down.Forward(in step, scratch.Delta, scratch.Activated, b.SDown);
    }

    /// <summary>
    /// scratch.Gradient holds d loss / d (Sum2 + delta) and leaves as the gradient of the block's input. Without
    /// <paramref name="inputGradient"/> the block is the first and its input's gradient is not wanted.
    /// </summary>
    internal void Backward(in BlockInputs inputs, LayerBuffers b, bool inputGradient)
    {
        StepContext step = inputs.Step;
        IBackend backend = step.Backend;
        ScratchBuffers s = inputs.Scratch;

        backend.SwigluForward(s.Activated, b.Gate, b.Up); // recomputed: cheaper than keeping it
        Down.Backward(in step, s.DActivated, s.Gradient, s.Activated, b.SDown, accumulate: false);
        backend.SwigluBackward(b.Gate, b.Up, s.DActivated, b.Gate, b.Up);
        Gate.Backward(in step, s.DNorm, b.Gate, b.Norm2, b.SGate, accumulate: false);
        Up.Backward(in step, s.DNorm, b.Up, b.Norm2, b.SUp, accumulate: true);
        NormBackward(in step, PostNorm, s.Gradient, s.DNorm, s.Gradient, b.Sum2, b.Rstd2, 1);

        O.Backward(in step, s.DAttention, s.Gradient, b.Attention, b.SO, accumulate: false);
        backend.AttentionBackward(
            s.DQ, s.DK, s.DV, s.DAttention, b.Q, b.K, b.V, b.Attention, b.Lse, inputs.KeyBegin, Shape(0), step.Workspace);
        backend.RopeBackward(s.DQ, inputs.Positions, inputs.Cos, inputs.Sin, _config.HeadDim);
        backend.RopeBackward(s.DK, inputs.Positions, inputs.Cos, inputs.Sin, _config.HeadDim);
        if (QNorm is not null)
        {
            NormBackward(in step, QNorm, s.DQ, s.DQ, default, b.QPre, b.RstdQ, _config.NumAttentionHeads);
            NormBackward(in step, KNorm!, s.DK, s.DK, default, b.KPre, b.RstdK, _config.NumKeyValueHeads);
        }

        Tensor dnorm = inputGradient || InputNorm.Trained is not null ? s.DNorm : default;
        Q.Backward(in step, dnorm, s.DQ, b.Norm1, b.SQ, accumulate: false);
        K.Backward(in step, dnorm, s.DK, b.Norm1, b.SK, accumulate: true);
        V.Backward(in step, dnorm, s.DV, b.Norm1, b.SV, accumulate: true);
        if (!dnorm.IsNone) NormBackward(in step, InputNorm, s.Gradient, s.DNorm, s.Gradient, b.Sum1, b.Rstd1, 1);
    }

    private void NormBackward(in StepContext step, NormLayer norm, Tensor dx, Tensor dy, Tensor dsum, Tensor x, Tensor rstd, int heads)
    {
        Tensor dweight = norm.Trained is null ? default : _store.Gradient(norm.Trained);
        step.Backend.RmsNormBackward(dx, dweight, dy, dsum, x, rstd, norm.Weight, heads, _config.RmsNormEps);
    }

    internal AttentionShape Shape(long firstQuery) => new(
        firstQuery, _config.NumAttentionHeads, _config.NumKeyValueHeads, _config.HeadDim, 1f / MathF.Sqrt(_config.HeadDim));
}
