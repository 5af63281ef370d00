using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Benchmarks.Measuring;

/// <summary>Products with one frozen weight [n, k] in several formats on one backend, up to <see cref="Shapes.MostRows"/> rows, both directions.</summary>
internal sealed class Products : IDisposable
{
    private readonly NativeBackend _backend;
    private readonly Operands _operands;
    private readonly Tensor _x, _dy, _y, _dx;
    private readonly WeightMatrix[] _weights;
    private readonly WeightMatrix?[] _plain;
    private readonly Workspace _workspace;

    internal Products(NativeBackend backend, IReadOnlyList<WeightFormat> formats, int n, int k, float[] values)
    {
        DType = formats[0] == WeightFormat.BF16 ? DType.BF16 : DType.F32;
        _backend = backend;
        _operands = new Operands(backend);
        _x = _operands.Matrix(Shapes.MostRows, k, DType, 2);
        _dy = _operands.Matrix(Shapes.MostRows, n, DType, 3);
        _y = _operands.Matrix(Shapes.MostRows, n, DType);
        _dx = _operands.Matrix(Shapes.MostRows, k, DType);
        _weights = [.. formats.Select(format => _operands.Weight(format, n, k, values))];
        _plain = [.. _weights.Select(w => w.Format == WeightFormat.Nf4 ? Dequantised(w) : null)];
        _workspace = _operands.Workspace(formats.Max(format => backend.LinearWorkspaceBytes(DType, format, 0, Shapes.MostRows, k, n, 0)));
    }

    /// <summary>Of the rows and of what the products are computed in.</summary>
    internal DType DType { get; }

    /// <summary>The product of m rows with the weight in each format.</summary>
    internal Action[] Calls(string direction, int m) => [.. _weights.Select(w => (Action)(() => Call(w, direction, m)))];

    /// <summary>What the product comes to, and whether that is to the bit what it comes to with the dequantised weight; null where that is the weight.</summary>
    internal (float[] Values, bool? AsDequantised) Outcome(int format, string direction, int m)
    {
        float[] outcome = Outcome(_weights[format], direction, m);
        return (outcome, _plain[format] is { } plain ? Outcome(plain, direction, m).AsSpan().SequenceEqual(outcome) : null);
    }

    private float[] Outcome(WeightMatrix weight, string direction, int m)
    {
        Call(weight, direction, m);
        return _operands.Download((direction == "forward" ? _y : _dx).FirstRows(m));
    }

    private void Call(WeightMatrix weight, string direction, int m)
    {
        if (direction == "forward") _backend.LinearForward(_y.FirstRows(m), _x.FirstRows(m), weight, default, [], default, accumulate: false, _workspace);
        else _backend.LinearBackward(_dx.FirstRows(m), default, default, _dy.FirstRows(m), default, weight, [], default, accumulate: false, _workspace);
    }

    /// <summary>The same weight in fp32: the product with it must come to the same bits.</summary>
    private WeightMatrix Dequantised(WeightMatrix weight)
    {
        Tensor wide = _operands.Contiguous(weight.Rows, weight.Columns);
        _backend.Dequantize(wide, weight, 0, weight.Rows);
        return new WeightMatrix { Format = WeightFormat.F32, Rows = weight.Rows, Columns = weight.Columns, Data = wide };
    }

    public void Dispose() => _operands.Dispose();
}
