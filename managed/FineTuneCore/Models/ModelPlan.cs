using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Tensors;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Models;

/// <summary>How one matrix is kept on the device. A border lets adapters ride in it: columns behind each row, rows below the last.</summary>
internal readonly record struct WeightLayout(WeightFormat Format, long RowStride, int Border, bool Nested = true)
{
    /// <summary>Element type of a wide format.</summary>
    internal DType DType => Format == WeightFormat.BF16 ? DType.BF16 : DType.F32;

    /// <summary>Bytes in memory: NF4, double-quantised where nested, or wide with its border.</summary>
    internal long BytesOf(ModuleSpec module)
    {
        if (Format != WeightFormat.Nf4) return (module.Rows + Border) * RowStride * DType.Size();
        long count = module.Rows * module.Columns, blocks = (count + Nf4Tables.BlockSize - 1) / Nf4Tables.BlockSize;
        return (count + 1) / 2 + (!Nested ? blocks * 4 : blocks + (blocks + Nf4Tables.NestedBlockSize - 1) / Nf4Tables.NestedBlockSize * 4);
    }
}

/// <summary>
/// What a model with given options will look like on a device, before any of it exists: which modules are trained, the rank of each adapter,
/// the format and layout of each weight. Loading, activations and the memory estimate all follow it.
/// </summary>
internal sealed class ModelPlan
{
    private readonly WeightOptions _options;
    private readonly Func<ModuleSpec, ElementType?> _storedAs;
    private readonly Func<ModuleSpec, bool> _isNested;
    private readonly Dictionary<string, int> _ranks;
    private readonly HashSet<ModuleSpec> _streamed;
    private const long PartsSlack = 4 * LayerRing.Alignment; // a matrix has up to four parts, each at a multiple of it

    /// <summary>
    /// Plans a model whose checkpoint stores a module's weight as <paramref name="storedAs"/> says; null is NF4, double-quantised where
    /// <paramref name="isNested"/>, by default everywhere.
    /// </summary>
    internal ModelPlan(
        ModelConfig config, IBackend backend, WeightOptions options, Func<ModuleSpec, ElementType?> storedAs, Func<ModuleSpec, bool>? isNested = null)
    {
        (Config, Backend, _options, _storedAs, _isNested) = (config, backend, options, storedAs, isNested ?? (_ => true));
        Modules = WeightNames.Modules(config).ToDictionary(m => m.Name);
        _streamed = [.. Streamed.SelectMany(WeightNames.Linears).Select(n => Modules[n]).Where(m => !IsTrained(m))];
        _ranks = options.Lora is not { } lora ? [] : Modules.Values.Where(lora.Targets).ToDictionary(m => m.Name, m => lora.RankOf(m.Name));
    }

    internal ModelConfig Config { get; }

    internal IBackend Backend { get; }

    internal IReadOnlyDictionary<string, ModuleSpec> Modules { get; }

    internal Precision Precision => _options.Precision;

    /// <summary>Element type of activations.</summary>
    internal DType Activations => Precision.Activations();

    /// <summary>Distinct attention windows; each needs key intervals of its own.</summary>
    internal int Windows => Config.SlidingWindow.Distinct().Count();

    /// <summary>The module whose weight turns the last hidden state into logits.</summary>
    internal ModuleSpec Head => Modules[Config.TieWordEmbeddings ? WeightNames.Embedding : WeightNames.Head];

    /// <summary>Rank of the adapter on a module, 0 without.</summary>
    internal int RankOf(string module) => _ranks.GetValueOrDefault(module);

    internal bool IsTrained(ModuleSpec module) => _options.TrainAll || _options.Lora?.Saves(module) == true;

    /// <summary>Whether a bf16 working copy stands beside the fp32 master of a trained matrix.</summary>
    internal bool HasWorkingCopy(ModuleSpec module) => Precision == Precision.Bf16 && module.Kind != WeightKind.Norm && IsTrained(module);

    /// <summary>Layout of the matrix that the ops read.</summary>
    internal WeightLayout LayoutOf(ModuleSpec module)
    {
        ElementType? stored = _storedAs(module);
        bool trained = IsTrained(module);
        if (!trained && (stored is null || (_options.Format == BaseFormat.Nf4 && module.Kind == WeightKind.Linear)))
            return new WeightLayout(WeightFormat.Nf4, module.Columns, 0, stored is not null || _isNested(module));
        bool bf16 = Precision == Precision.Bf16 || (!trained && stored == ElementType.BF16);
        WeightFormat format = bf16 ? WeightFormat.BF16 : WeightFormat.F32;
        // Trained in fp32: the parameter store's own memory. Read where the file is mapped: the file's.
        if (trained ? !bf16 : Backend.ReadsHostMemory) return new WeightLayout(format, module.Columns, 0);
        LinearStrides strides = StridesOf(module);
        return new WeightLayout(format, strides.Weight, strides.Border);
    }

    /// <summary>What the device wants for the linear layer of this module.</summary>
    internal LinearStrides StridesOf(ModuleSpec module) => Backend.LinearStrides(Activations, module.Columns, module.Rows, RankOf(module.Name));

    /// <summary>Bytes on the device of what is not trained: matrices, norms, biases, and the ring of those in host memory.</summary>
    internal long FrozenBytes => RingBytes + Modules.Values.Where(m => !IsTrained(m)).Sum(m =>
        m.Kind == WeightKind.Norm ? m.Columns * 4 : (_streamed.Contains(m) ? 0 : LayoutOf(m).BytesOf(m)) + (m.Bias ? m.Rows * 4 : 0));

    /// <summary>The first block whose frozen linear weights wait in host memory; as many as there are blocks when none does.</summary>
    internal int StreamedFrom => Math.Min(_options.ResidentLayers ?? Config.NumHiddenLayers, Config.NumHiddenLayers);

    internal bool Streams => StreamedFrom < Config.NumHiddenLayers;

    /// <summary>Whether there are frozen weights in the blocks, and a device to stream them to.</summary>
    internal bool CanStream => Backend.HasBackground && Modules.Values.Any(m => m.Kind == WeightKind.Linear && !IsTrained(m));

    internal bool IsStreamed(int layer) => layer >= StreamedFrom;

    /// <summary>Bytes of a block in host memory, and of its place in a slot of the ring.</summary>
    internal long StreamedBytes(int layer) => WeightNames.Linears(layer).Select(n => Modules[n]).Where(_streamed.Contains)
        .Sum(m => (LayoutOf(m).BytesOf(m) + PartsSlack + LayerRing.Alignment - 1) / LayerRing.Alignment * LayerRing.Alignment);

    /// <summary>Blocks the ring has room for.</summary>
    internal int RingSlots => Math.Min(_options.RingSlots, Config.NumHiddenLayers - StreamedFrom);

    internal long SlotBytes => Streamed.Select(StreamedBytes).DefaultIfEmpty(0).Max();

    internal long RingBytes => RingSlots * SlotBytes;

    /// <summary>Bytes of pinned host memory.</summary>
    internal long HostBytes => Streamed.Sum(StreamedBytes);

    /// <summary>Device bytes needed beside the weights while they are loaded.</summary>
    internal long LoadingBytes => Modules.Values.Where(m => !IsTrained(m) && m.Kind != WeightKind.Norm).Select(WeightLoader.ScratchBytes).DefaultIfEmpty(0).Max();

    /// <summary>Whether any matrix is NF4.</summary>
    internal bool HasNf4 => Modules.Values.Any(m => m.Kind != WeightKind.Norm && LayoutOf(m).Format == WeightFormat.Nf4);

    /// <summary>Up to how many rows NF4 weights are multiplied packed; the device does so in bf16 alone.</summary>
    internal long PackedRows => Precision == Precision.Bf16 ? _options.PackedRows : Math.Min(_options.PackedRows, 0);

    /// <summary>Whether the weight of a module is dequantised ahead of products with more rows than <see cref="PackedRows"/>.</summary>
    internal bool IsDequantisedAhead(ModuleSpec module) =>
        Backend.HasBackground && module.Kind == WeightKind.Linear && LayoutOf(module).Format == WeightFormat.Nf4;

    /// <summary>How such a weight lies when it has been dequantised.</summary>
    internal WeightLayout AheadLayout(ModuleSpec module)
    {
        LinearStrides strides = StridesOf(module);
        return new WeightLayout(Precision == Precision.Bf16 ? WeightFormat.BF16 : WeightFormat.F32, strides.Weight, strides.Border);
    }

    private IEnumerable<int> Streamed => Enumerable.Range(StreamedFrom, Config.NumHiddenLayers - StreamedFrom);

    /// <summary>Bytes of what is trained: values and gradients in fp32, the optimiser's state unless it lies on the host, and working copies.</summary>
    internal long TrainedBytes => 8 * FlatCount + (_options.StateOnHost ? 0 : _options.State.BytesOf(FlatCount)) + Modules.Values.Where(HasWorkingCopy).Sum(m => LayoutOf(m).BytesOf(m));

    /// <summary>Bytes of host memory for the optimiser's state.</summary>
    internal long HostStateBytes => _options.StateOnHost ? _options.State.BytesOf(FlatCount) : 0;

    /// <summary>Elements of the parameter store's arrays.</summary>
    private long FlatCount
    {
        get
        {
            long alignment = _options.State.Alignment();
            return TensorSizes.Sum(count => (count + alignment - 1) / alignment * alignment);
        }
    }

    /// <summary>Elements of each trained tensor.</summary>
    private IEnumerable<long> TensorSizes
    {
        get
        {
            foreach (ModuleSpec m in Modules.Values)
            {
                if (RankOf(m.Name) is > 0 and int rank)
                {
                    yield return rank * m.Columns;
                    yield return rank * m.Rows;
                }

                if (!IsTrained(m)) continue;
                yield return m.Rows * m.Columns;
                if (m.Bias) yield return m.Rows;
            }
        }
    }

    /// <summary>Bytes of the arena for passes of up to <paramref name="rows"/> tokens, and of the RoPE tables.</summary>
    internal long ActivationBytes(BufferMode mode, int rows, int positions) =>
        new BufferPlanner(this, mode, rows).Plan.Bytes + RopeTables.BytesOf(Config, positions);
}
