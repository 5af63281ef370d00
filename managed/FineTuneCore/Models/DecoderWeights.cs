using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>What is trained and how the rest is kept.</summary>
internal sealed record WeightOptions
{
    internal BaseFormat Format { get; init; } = BaseFormat.AsStored;

    /// <summary>In which type the model computes; what is trained is kept in fp32 in any case.</summary>
    internal Precision Precision { get; init; } = Precision.Fp32;

    /// <summary>Every weight is trained.</summary>
    internal bool TrainAll { get; init; }

    /// <summary>An adapter on the linear layers, or null.</summary>
    internal LoraOptions? Lora { get; init; }

    /// <summary>Gradients and optimiser state are wanted.</summary>
    internal bool Training { get; init; }

    /// <summary>What the optimiser remembers.</summary>
    internal OptimizerState State { get; init; } = OptimizerState.TwoMoments;

    /// <summary>It lies in pinned host memory, where the update reads and writes it.</summary>
    internal bool StateOnHost { get; init; }

    /// <summary>Learning rate of B over that of A. LoRA+: Hayou et al. 2024, arXiv:2402.12354.</summary>
    internal float LoraPlusRatio { get; init; } = 1;

    /// <summary>Seed of the dropout keys.</summary>
    internal ulong Seed { get; init; }

    /// <summary>Blocks, from the first on, whose frozen linear weights stay on the device; the others' wait in host memory. Null = all.</summary>
    internal int? ResidentLayers { get; init; }

    /// <summary>Blocks of those in host memory that the device holds at a time: 2 or 3.</summary>
    internal int RingSlots { get; init; } = LayerRing.MostSlots;

    /// <summary>Up to how many rows NF4 weights are multiplied packed. More of them multiply what was dequantised ahead, where that can run in the background.</summary>
    internal long PackedRows { get; init; } = long.MaxValue;
}

/// <summary>The weights of a decoder on a device: frozen matrices, the parameter store of what is trained, and the blocks over both.</summary>
internal sealed class DecoderWeights : IDisposable
{
    private readonly WeightLoader _loader;
    private readonly WeightOptions _options;
    private readonly Dictionary<string, LoraLayer> _lora = [];
    private readonly List<(WeightMatrix Master, WeightMatrix Copy)> _workingCopies = [];
    private readonly List<(ModuleSpec Module, WeightMatrix Weight)> _matrices = [];

    private DecoderWeights(ModelConfig config, IBackend backend, WeightLoader loader, WeightOptions options)
    {
        (Backend, _loader, _options) = (backend, loader, options);
        Parameters = new ParameterStore(options.State, options.StateOnHost);
        Plan = new ModelPlan(config, backend, options, loader.StoredAs, loader.IsNested);
    }

    internal ModelPlan Plan { get; }

    internal ModelConfig Config => Plan.Config;

    internal IBackend Backend { get; }

    internal ParameterStore Parameters { get; }

    internal WeightMatrix Embedding { get; private set; } = null!;

    internal Parameter? EmbeddingParameter { get; private set; }

    internal NormLayer FinalNorm { get; private set; } = null!;

    internal WeightMatrix Head { get; private set; } = null!;

    /// <summary>The trained head; the embedding's parameter where they are tied.</summary>
    internal Parameter? HeadParameter { get; private set; }

    internal DecoderBlock[] Blocks { get; private set; } = [];

    internal IReadOnlyDictionary<string, LoraLayer> Lora => _lora;

    /// <summary>Brings the weights of blocks that wait in host memory; null when all are resident.</summary>
    internal LayerRing? Ring { get; private set; }

    /// <summary>Frozen and trained matrices (their fp32 masters) with their modules, for memory reports, merging and saving.</summary>
    internal IReadOnlyList<(ModuleSpec Module, WeightMatrix Weight)> Matrices => _matrices;

    /// <summary>Whether any matrix is NF4.</summary>
    internal bool HasNf4 => _matrices.Any(m => m.Weight.Format == WeightFormat.Nf4);

    internal long AllocatedBytes => _loader.AllocatedBytes;

    /// <summary>Loads a model directory's weights onto the backend.</summary>
    /// <exception cref="FineTuneException">A file is unusable, a tensor is missing or misshapen, or it does not fit.</exception>
    internal static DecoderWeights Load(ModelDirectory directory, ModelConfig config, IBackend backend, WeightOptions options)
    {
        var loader = new WeightLoader(backend, TensorFiles.Open(directory.WeightFiles()));
        var weights = new DecoderWeights(config, backend, loader, options);
        try
        {
            weights.PlanParameters();
            weights.Parameters.Allocate(backend, options.Training);
            if (weights.Plan.Streams) weights.Ring = new LayerRing(backend, weights.Plan);
            weights.LoadAll();
            weights.ParametersChanged();
            backend.Synchronize(); // what lies in host memory is read by another stream
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Brings working copies up to date; whoever writes trained weights calls it before the next pass.</summary>
    internal void ParametersChanged()
    {
        foreach ((WeightMatrix master, WeightMatrix copy) in _workingCopies) Backend.Dequantize(copy.Data, master, 0, master.Rows);
    }

    private void PlanParameters()
    {
        if (_options.Lora is { } lora) PlanAdapters(lora);
        foreach (ModuleSpec module in Plan.Modules.Values.Where(Plan.IsTrained))
        {
            Parameters.Add(module.WeightName, module.Rows, module.Columns, new ParameterGroup(1, Decays: module.Kind != WeightKind.Norm));
            if (module.Bias) Parameters.Add(module.BiasName, 1, module.Rows, new ParameterGroup(1, Decays: false));
        }

        Parameters.Layout();
    }

    private void PlanAdapters(LoraOptions lora)
    {
        foreach (ModuleSpec module in Plan.Modules.Values.Where(lora.Targets))
        {
            int rank = lora.RankOf(module.Name);
            long smaller = Math.Min(module.Rows, module.Columns);
            if (rank < 1 || rank > smaller)
                throw FineTuneException.Usage($"rank {rank} exceeds the smaller side ({smaller}) of {module.Name}; choose a rank from 1 up to {smaller}.");
            _lora[module.Name] = new LoraLayer
            {
                Module = module.Name,
                Rank = rank,
                Scaling = lora.ScalingOf(module.Name),
                DropoutProbability = (float)lora.Dropout,
                DropoutSeed = SeedOf(module.Name),
                A = Parameters.Add($"{module.Name}.lora_A.weight", rank, module.Columns, ParameterGroup.Default),
                B = Parameters.Add($"{module.Name}.lora_B.weight", module.Rows, rank, new ParameterGroup(_options.LoraPlusRatio, true)),
            };
        }

        if (_lora.Count == 0)
        {
            throw FineTuneException.Usage(
                $"targetPlan.Modules [{string.Join(", ", lora.TargetModules)}] matches no linear layer of this {Config.ModelType}; the layers are " +
                $"{string.Join(", ", Plan.Modules.Values.Where(m => m.Kind == WeightKind.Linear).Select(m => m.Name[(m.Name.LastIndexOf('.') + 1)..]).Distinct())}, or use all-linear.");
        }

        foreach (string name in lora.ModulesToSave)
        {
            if (Plan.Modules.Values.Any(m => LoraOptions.Matches(m.Name, name))) continue;
            string hint = name == WeightNames.Head && Config.TieWordEmbeddings ? " (this model ties its head to model.embed_tokens: name embed_tokens)" : "";
            throw FineTuneException.Usage($"modules_to_save names '{name}', which this {Config.ModelType} does not have{hint}.");
        }
    }

    /// <summary>FNV-1a of the module's name, mixed with the run's seed: the Philox key of its dropout.</summary>
    private ulong SeedOf(string module)
    {
        ulong hash = 14695981039346656037;
        foreach (char c in module) hash = (hash ^ c) * 1099511628211;
        return hash ^ (_options.Seed * 0x9E3779B97F4A7C15);
    }

    private void LoadAll()
    {
        (Embedding, EmbeddingParameter) = Matrix(WeightNames.Embedding);
        var blocks = new DecoderBlock[Config.NumHiddenLayers];
        for (int i = 0; i < blocks.Length; i++)
        {
            string At(string module) => WeightNames.Layer(i, module);
            if (Plan.IsStreamed(i)) _loader.IntoHostMemory(Plan.StreamedBytes(i), $"the weights of layer {i} in host memory");
            blocks[i] = new DecoderBlock(Config, Parameters)
            {
                InputNorm = Norm(At("input_layernorm")),
                Q = Linear(At("self_attn.q_proj")),
                K = Linear(At("self_attn.k_proj")),
                V = Linear(At("self_attn.v_proj")),
                QNorm = Config.QkNorm ? Norm(At("self_attn.q_norm")) : null,
                KNorm = Config.QkNorm ? Norm(At("self_attn.k_norm")) : null,
                O = Linear(At("self_attn.o_proj")),
                PostNorm = Norm(At("post_attention_layernorm")),
                Gate = Linear(At("mlp.gate_proj")),
                Up = Linear(At("mlp.up_proj")),
                Down = Linear(At("mlp.down_proj")),
            };
            if (Plan.IsStreamed(i)) Ring!.Add(i, _loader.EndOfHostMemory());
        }

        Blocks = blocks;
        FinalNorm = Norm(WeightNames.FinalNorm);
        (Head, HeadParameter) = Config.TieWordEmbeddings ? (Embedding, EmbeddingParameter) : Matrix(WeightNames.Head);
    }

    private LinearLayer Linear(string name)
    {
        ModuleSpec module = Plan.Modules[name];
        (WeightMatrix weight, Parameter? trained) = Matrix(name);
        Parameter? trainedBias = module.Bias ? Parameters.Find(module.BiasName) : null;
        return new LinearLayer(Parameters, name, weight, module.Bias ? VectorOf(module.BiasName, module.Rows) : default)
        {
            Lora = _lora.GetValueOrDefault(name),
            TrainedWeight = trained,
            TrainedBias = trainedBias,
        };
    }

    private NormLayer Norm(string name)
    {
        ModuleSpec module = Plan.Modules[name];
        return new NormLayer(VectorOf(module.WeightName, module.Columns), Parameters.Find(module.WeightName));
    }

    private Tensor VectorOf(string name, long count)
    {
        if (Parameters.Find(name) is not { } parameter) return _loader.Vector(name, count);
        Tensor value = Parameters.Value(parameter);
        _loader.Into(value, Plan.Modules[name[..name.LastIndexOf('.')]], name, count);
        return value;
    }

    private (WeightMatrix Weight, Parameter? Trained) Matrix(string name)
    {
        ModuleSpec module = Plan.Modules[name];
        Parameter? trained = Parameters.Find(module.WeightName);
        WeightMatrix weight;
        if (trained is null)
        {
            weight = _loader.Matrix(module, Plan.LayoutOf(module));
            if (_loader.HostBlock is { } block) weight = Ring!.InSlot(weight, block, Ring.Next);
        }
        else
        {
            Tensor value = Parameters.Value(trained);
            _loader.Into(value, module, module.WeightName, module.Rows, module.Columns);
            weight = new WeightMatrix { Format = WeightFormat.F32, Rows = module.Rows, Columns = module.Columns, Data = value };
        }

        _matrices.Add((module, weight));
        if (!Plan.HasWorkingCopy(module)) return (weight, trained);
        WeightMatrix copy = _loader.Empty(module, Plan.LayoutOf(module));
        _workingCopies.Add((weight, copy));
        return (copy, trained);
    }

    public void Dispose()
    {
        Parameters.Dispose();
        Ring?.Dispose();
        _loader.Dispose();
    }
}
