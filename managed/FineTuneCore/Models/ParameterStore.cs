using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>How the optimiser treats a set of parameters.</summary>
internal readonly record struct ParameterGroup(float LearningRateMultiplier, bool Decays)
{
    internal static readonly ParameterGroup Default = new(1, true);
}

/// <summary>One trained tensor: its place in the store's flat arrays, in elements.</summary>
internal sealed class Parameter
{
    internal required string Name { get; init; }

    internal required long Rows { get; init; }

    internal required long Columns { get; init; }

    internal required ParameterGroup Group { get; init; }

    internal long Offset { get; set; }

    internal long Count => Rows * Columns;
}

/// <summary>
/// Everything that is trained, as flat fp32 arrays: values, gradients, and the optimiser's two moments. One call clips, one call
/// per group updates. Members start on cache lines; the gaps stay zero for ever.
/// </summary>
internal sealed class ParameterStore : IDisposable
{
    private const long Alignment = 16; // floats in a cache line

    private readonly List<Parameter> _parameters = [];
    private readonly Dictionary<string, Parameter> _byName = [];
    private DeviceBuffer? _values;
    private DeviceBuffer? _gradients;
    private DeviceBuffer? _moments;

    internal IReadOnlyList<Parameter> Parameters => _parameters;

    /// <summary>Trained weights, gaps left out.</summary>
    internal long TrainableCount => _parameters.Sum(p => p.Count);

    /// <summary>Elements of each flat array, gaps included.</summary>
    internal long FlatCount { get; private set; }

    /// <summary>Ranges of the flat arrays that share an optimiser group.</summary>
    internal IReadOnlyList<(ParameterGroup Group, long Offset, long Count)> Groups { get; private set; } = [];

    internal Parameter Add(string name, long rows, long columns, ParameterGroup group)
    {
        var parameter = new Parameter { Name = name, Rows = rows, Columns = columns, Group = group };
        if (!_byName.TryAdd(name, parameter)) throw new InvalidOperationException($"parameter {name} was added twice");
        _parameters.Add(parameter);
        return parameter;
    }

    internal Parameter? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Fixes the layout; groups become contiguous, in the order in which they first appeared.</summary>
    internal void Layout()
    {
        var groups = new List<(ParameterGroup, long, long)>();
        long at = 0;
        foreach (IGrouping<ParameterGroup, Parameter> group in _parameters.GroupBy(p => p.Group))
        {
            long begin = at;
            foreach (Parameter parameter in group)
            {
                parameter.Offset = at;
                at += (parameter.Count + Alignment - 1) / Alignment * Alignment;
            }

            groups.Add((group.Key, begin, at - begin));
        }

        FlatCount = at;
        Groups = groups;
    }

    internal void Allocate(IBackend backend, bool training)
    {
        if (FlatCount == 0) return;
        _values = backend.Allocate(FlatCount * 4, "the trained weights");
        if (!training) return;
        _gradients = backend.Allocate(FlatCount * 4, "the gradients of the trained weights");
        _moments = backend.Allocate(FlatCount * 8, "the optimiser's state");
    }

    internal Tensor Value(Parameter p) => new(_values!, p.Offset * 4, p.Rows, p.Columns, p.Columns, DType.F32);

    /// <summary>None when the store was made for inference.</summary>
    internal Tensor Gradient(Parameter p) => _gradients is null ? default : new(_gradients, p.Offset * 4, p.Rows, p.Columns, p.Columns, DType.F32);

    internal Tensor FlatValues(long offset, long count) => Tensor.Vector(_values!, offset * 4, count);

    internal Tensor FlatGradients(long offset, long count) => Tensor.Vector(_gradients!, offset * 4, count);

    internal Tensor FlatFirstMoments(long offset, long count) => Tensor.Vector(_moments!, offset * 4, count);

    internal Tensor FlatSecondMoments(long offset, long count) => Tensor.Vector(_moments!, (FlatCount + offset) * 4, count);

    public void Dispose()
    {
        _values?.Dispose();
        _gradients?.Dispose();
        _moments?.Dispose();
    }
}
