using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Models;
using FineTuneCore.Tensors;

namespace FineTuneCore.Export;

/// <summary>Adds s · B A to rows of a weight: a linear layer whose input is B and whose weight is s · Aᵀ.</summary>
internal sealed class MergeDelta : IDisposable
{
    private readonly DecoderWeights _weights;
    private readonly LoraLayer _lora;
    private readonly DeviceBuffer _scaledA;
    private readonly WeightMatrix _matrix;
    private readonly DeviceBuffer _scratch;
    private readonly Workspace _workspace;

    internal MergeDelta(DecoderWeights weights, LoraLayer lora, long maxRows)
    {
        (_weights, _lora) = (weights, lora);
        IBackend backend = weights.Backend;
        long columns = lora.A.Columns;
        var a = new float[lora.A.Count];
        backend.Download<float>(a, weights.Parameters.Value(lora.A));
        var transposed = new float[a.Length];
        for (long r = 0; r < lora.Rank; r++)
            for (long k = 0; k < columns; k++) transposed[k * lora.Rank + r] = a[r * columns + k] * lora.Scaling;
        _scaledA = backend.Allocate(transposed.Length * 4L, "merging");
        var data = new Tensor(_scaledA, 0, columns, lora.Rank, lora.Rank, DType.F32);
        backend.Upload<float>(data, transposed);
        _matrix = new WeightMatrix { Format = WeightFormat.F32, Rows = columns, Columns = lora.Rank, Data = data };
        long bytes = Math.Max(64, backend.LinearWorkspaceBytes(DType.F32, WeightFormat.F32, border: 0, maxRows, lora.Rank, columns, 0));
        _scratch = backend.Allocate(bytes, "merging");
        _workspace = new Workspace(Tensor.Vector(_scratch, 0, bytes, DType.U8), bytes);
    }

    /// <summary>y [rows, in-features] += rows [firstRow, …) of s · B A.</summary>
    internal void AddTo(Tensor y, long firstRow) => _weights.Backend.LinearForward(
        y, _weights.Parameters.Value(_lora.B).RowBlock(firstRow, y.Rows), _matrix, default, [], default, accumulate: true, in _workspace);

    public void Dispose()
    {
        _scaledA.Dispose();
        _scratch.Dispose();
    }
}
