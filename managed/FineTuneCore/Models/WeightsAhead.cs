using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>
/// Dequantises packed weights ahead of the products that read them: into two matrices by turns, in the background, each while the product
/// before runs. Which weight comes when is known from the start, as a pass always goes the same way. What lies in a slot of the ring is read
/// as soon as it has come.
/// </summary>
internal sealed class WeightsAhead : IDisposable
{
    internal const int Matrices = 2;

    private const int RowsThatNeedTheWholeDevice = 312;

    /// <summary>
    /// Percent of the device that dequantisation ahead of products of so many rows may take. A product of M rows takes 2 M flops for an element
    /// of the weight, dequantising it moves 2.5 bytes: on GPUs of some 180 flops a byte it is ready in time with 230 / M of the memory's
    /// speed, a third more for good measure. What it takes beyond that, the product lacks.
    /// </summary>
    internal static int SharePercent(int rows) => Math.Clamp(100 * RowsThatNeedTheWholeDevice / rows, 5, 100);

    private readonly IBackend _backend;
    private readonly IBackgroundStream _background;
    private readonly LayerRing? _ring;
    private readonly Use[] _evaluation;
    private readonly Use[] _training;
    private readonly DeviceEvent _begun;
    private readonly DeviceEvent[] _ready; // of each matrix: it has been written
    private readonly DeviceEvent[] _taken; // it has been read
    private Use[] _uses = [];
    private int _at;     // the use that is taken next, or being taken
    private int _issued; // uses whose dequantisation has been asked for
    private int _left;   // products that the current use still serves

    /// <summary>Products in a row that read one weight of a block, and where it lies when it has been dequantised.</summary>
    private sealed record Use(WeightMatrix Packed, int Layer, WeightMatrix[] Wide, int Products);

    /// <param name="weights">Of the passes.</param>
    /// <param name="memory">The two matrices, each for the largest weight.</param>
    /// <param name="firstTrained">The block at which backward ends.</param>
    /// <param name="recomputes">Blocks but the last run forward again in backward.</param>
    /// <param name="rows">Most rows of a product.</param>
    internal WeightsAhead(DecoderWeights weights, Tensor[] memory, int firstTrained, bool recomputes, int rows)
    {
        (_backend, _ring) = (weights.Backend, weights.Ring);
        _background = _backend.Background(BackgroundWork.Dequantise, SharePercent(rows));
        _begun = _backend.CreateEvent();
        _ready = [.. memory.Select(_ => _backend.CreateEvent())];
        _taken = [.. memory.Select(_ => _backend.CreateEvent())];
        var order = new List<(LinearLayer Linear, int Layer)>();
        for (int i = 0; i < weights.Blocks.Length; i++) order.AddRange(weights.Blocks[i].Linears.Select(l => (l, i)));
        _evaluation = Uses(order, weights.Plan, memory);
        for (int i = weights.Blocks.Length - 1; i >= firstTrained && firstTrained >= 0; i--)
        {
            DecoderBlock block = weights.Blocks[i];
            if (recomputes && i < weights.Blocks.Length - 1) order.AddRange(block.Linears.Select(l => (l, i)));
            order.AddRange(block.BackwardLinears(i > firstTrained || weights.EmbeddingParameter is not null).Select(l => (l, i)));
        }

        _training = Uses(order, weights.Plan, memory);
    }

    /// <summary>Before a pass, with or without backward.</summary>
    internal void Begin(bool training)
    {
        (_uses, _at, _issued, _left) = (training ? _training : _evaluation, 0, 0, 0);
        _backend.Record(_begun);
        _background.Wait(_begun); // whoever read or wrote the two matrices before is done
        Issue();
    }

    /// <summary>The weight as the next product should read it; the packed one itself when it is not dequantised ahead.</summary>
    internal WeightMatrix Take(WeightMatrix packed)
    {
        if (packed.Format != WeightFormat.Nf4) return packed;
        Issue();
        Use use = _uses[_at];
        if (!ReferenceEquals(use.Packed, packed) || _at >= _issued) throw new InvalidOperationException("products came in another order than planned");
        int matrix = _at % Matrices;
        if (_left == 0)
        {
            _left = use.Products;
            _backend.Wait(_ready[matrix]);
        }

        return use.Wide[matrix];
    }

    /// <summary>The backend has been given the product for which a weight was taken.</summary>
    internal void Release(WeightMatrix packed)
    {
        if (packed.Format != WeightFormat.Nf4 || --_left > 0) return;
        _backend.Record(_taken[_at % Matrices]);
        _at++;
        Issue();
    }

    private void Issue()
    {
        for (; _issued < Math.Min(_at + Matrices, _uses.Length); _issued++)
        {
            Use use = _uses[_issued];
            int matrix = _issued % Matrices;
            if (_ring is not null && !_ring.Holds(use.Layer)) return; // it is asked for again when the block has set out
            _ring?.Await(_background, use.Layer);
            if (_issued >= Matrices) _background.Wait(_taken[matrix]);
            _background.Dequantize(use.Wide[matrix].Data, use.Packed);
            _background.Record(_ready[matrix]);
        }
    }

    private static Use[] Uses(List<(LinearLayer Linear, int Layer)> order, ModelPlan plan, Tensor[] memory)
    {
        var uses = new List<Use>();
        var wide = new Dictionary<LinearLayer, WeightMatrix[]>();
        foreach ((LinearLayer linear, int layer) in order.Where(l => l.Linear.Weight.Format == WeightFormat.Nf4))
        {
            if (uses.Count > 0 && ReferenceEquals(uses[^1].Packed, linear.Weight))
            {
                uses[^1] = uses[^1] with { Products = uses[^1].Products + 1 };
                continue;
            }

            if (!wide.TryGetValue(linear, out WeightMatrix[]? matrices))
            {
                ModuleSpec module = plan.Modules[linear.Module];
                WeightLayout layout = plan.AheadLayout(module);
                wide[linear] = matrices = [.. memory.Select(m => new WeightMatrix
                {
                    Format = layout.Format, Rows = module.Rows, Columns = module.Columns, Border = layout.Border,
                    Data = m with { Rows = module.Rows, Columns = module.Columns, RowStride = layout.RowStride, DType = layout.DType },
                })];
            }

            uses.Add(new Use(linear.Weight, layer, matrices, 1));
        }

        return [.. uses];
    }

    public void Dispose()
    {
        _begun.Dispose();
        foreach (DeviceEvent e in _ready) e.Dispose();
        foreach (DeviceEvent e in _taken) e.Dispose();
    }
}
