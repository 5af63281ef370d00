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
/// Everything that is trained, as flat arrays: values and gradients in fp32, and the optimiser's state. One call clips, one call
/// per group updates. Members start at multiples of the state's alignment; the gaps stay zero for ever.
/// </summary>
internal sealed class ParameterStore(OptimizerState state, bool stateOnHost = false) : IDisposable
{
    private const long MapValues = 256;

    private readonly List<Parameter> _parameters = [];
    private readonly Dictionary<string, Parameter> _byName = [];
    private DeviceBuffer? _values;
    private DeviceBuffer? _gradients;
    private DeviceBuffer? _state;
    private DeviceBuffer? _maps;

    internal IReadOnlyList<Parameter> Parameters => _parameters;

    /// <summary>What the optimiser remembers.</summary>
    internal OptimizerState State { get; } = state;

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
        long at = 0, alignment = State.Alignment();
        foreach (IGrouping<ParameterGroup, Parameter> group in _parameters.GroupBy(p => p.Group))
        {
            long begin = at;
            foreach (Parameter parameter in group)
            {
                parameter.Offset = at;
                at += (parameter.Count + alignment - 1) / alignment * alignment;
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
        long bytes = State.BytesOf(FlatCount);
        _state = stateOnHost ? backend.AllocateHost(bytes, "the optimiser's state in host memory") : backend.Allocate(bytes, "the optimiser's state");
        if (State != OptimizerState.TwoMoments8Bit) return;
        _maps = backend.Allocate(2 * MapValues * 4, "the maps of the optimiser's codes");
        float[] signed = DynamicMaps.Signed();
        backend.Upload<float>(FirstMap, signed);
        backend.Upload<float>(SecondMap, DynamicMaps.Unsigned());
        // In the gap behind a tensor the state is 0 whatever its block's absmax becomes, by a checkpoint too. The second map's 0 is code 0.
        byte[] zeros = new byte[OptimizerStates.BlockSize];
        Array.Fill(zeros, (byte)Array.IndexOf(signed, 0f));
        foreach (Parameter p in _parameters)
        {
            long end = p.Offset + p.Count, gap = (State.Alignment() - end % State.Alignment()) % State.Alignment();
            if (gap > 0) backend.Upload<byte>(FlatCodes(0, end, gap), zeros.AsSpan(0, (int)gap));
        }
    }

    internal Tensor Value(Parameter p) => new(_values!, p.Offset * 4, p.Rows, p.Columns, p.Columns, DType.F32);

    /// <summary>None when the store was made for inference.</summary>
    internal Tensor Gradient(Parameter p) => _gradients is null ? default : new(_gradients, p.Offset * 4, p.Rows, p.Columns, p.Columns, DType.F32);

    internal Tensor FlatValues(long offset, long count) => Tensor.Vector(_values!, offset * 4, count);

    internal Tensor FlatGradients(long offset, long count) => Tensor.Vector(_gradients!, offset * 4, count);

    /// <summary>The first moment in fp32, or the velocity.</summary>
    internal Tensor FlatFirstMoments(long offset, long count) => Tensor.Vector(_state!, offset * 4, count);

    internal Tensor FlatSecondMoments(long offset, long count) => Tensor.Vector(_state!, (FlatCount + offset) * 4, count);

    /// <summary>Codes of a moment (0 the first, 1 the second) of a range that begins at a block.</summary>
    internal Tensor FlatCodes(int moment, long offset, long count) => Tensor.Vector(_state!, moment * FlatCount + offset, count, DType.U8);

    /// <summary>The absmax of each block of these codes.</summary>
    internal Tensor FlatAbsmax(int moment, long offset, long count) => Tensor.Vector(
        _state!, 2 * FlatCount + (moment * OptimizerStates.Blocks(FlatCount) + offset / OptimizerStates.BlockSize) * 4, OptimizerStates.Blocks(count));

    /// <summary>What the first moment's codes stand for.</summary>
    internal Tensor FirstMap => Tensor.Vector(_maps!, 0, MapValues);

    internal Tensor SecondMap => Tensor.Vector(_maps!, MapValues * 4, MapValues);

    /// <summary>The state of one parameter, part by part, under the names that checkpoints use; what is one number a weight has its shape.</summary>
    internal IEnumerable<(string Name, Tensor Tensor, long[] Shape)> StateOf(Parameter p)
    {
        long[] shape = [p.Rows, p.Columns];
        switch (State)
        {
            case OptimizerState.TwoMoments8Bit:
                foreach ((int moment, string name) in ((int, string)[])[(0, "m"), (1, "v")])
                {
                    yield return (name, FlatCodes(moment, p.Offset, p.Count), shape);
                    Tensor absmax = FlatAbsmax(moment, p.Offset, p.Count);
                    yield return ($"{name}_absmax", absmax, [absmax.Columns]);
                }

                break;
            case OptimizerState.Velocity:
                yield return ("m", FlatFirstMoments(p.Offset, p.Count), shape);
                break;
            default:
                yield return ("m", FlatFirstMoments(p.Offset, p.Count), shape);
                yield return ("v", FlatSecondMoments(p.Offset, p.Count), shape);
                break;
        }
    }

    public void Dispose()
    {
        _values?.Dispose();
        _gradients?.Dispose();
        _state?.Dispose();
        _maps?.Dispose();
    }
}
