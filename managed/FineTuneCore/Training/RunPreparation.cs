using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Data;
using FineTuneCore.Files;
using FineTuneCore.Generation;
using FineTuneCore.Models;
using FineTuneCore.Planning;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Training;

/// <summary>
/// Everything between the options and the first step: model, tokenizer, template, encoded data, batches, weights, memory. Fills the
/// options that were left open and notes what was chosen. Nothing large is allocated before the plan is known to fit.
/// </summary>
internal sealed class RunPreparation : IDisposable
{
    private const int DefaultSequenceLength = 1024;
    private const int DefaultEvaluations = 10; // a run
    private readonly List<string> _choices = [];
    private DecoderWeights? _weights;
    private Decoder? _decoder;

    internal RunPreparation(FineTuneOptions options, CancellationToken cancellation)
    {
        Options = options;
        if (options.Model.Length == 0) throw FineTuneException.Usage("no model was named; give --model DIR.");
        if (options.Data.Length == 0) throw FineTuneException.Usage("no training data was named; give --data FILE.");
        Base = ModelDirectory.Resolve(options.Model);
        Config = ModelConfig.Load(Base.ConfigPath);
        Tokenizer = ModelFiles.TokenizerOf(Base, Config)
            ?? throw FineTuneException.Failed($"{Base.Path} has neither tokenizer.json nor tokenizer.model; training needs one.");
        Template = ModelFiles.TemplateOf(Base, options.ChatTemplate, Tokenizer);
        ResolveSequenceLength();
        ResolveAdapter();
        // Before the data: a device that is not there is known at once.
        Device = Device.Open(options.Device, options.Precision, options.Threads ?? 0, options.MemoryLimit ?? 0);
        _choices.AddRange(Device.Choices);
        options.Precision = Device.Precision.Name(); // a resumed run goes on in it
        try
        {
            CheckPlacement();
            CheckGraphs();
            CheckOptimizer();
            EncodeData(cancellation);
            ResolveSchedule();
        }
        catch
        {
            Backend.Dispose();
            throw;
        }
    }

    internal FineTuneOptions Options { get; }

    internal ModelDirectory Base { get; }

    internal ModelConfig Config { get; }

    internal Tokenizer Tokenizer { get; }

    internal ChatTemplate? Template { get; }

    internal Device Device { get; }

    internal IBackend Backend => Device.Backend;

    /// <summary>Where the GPU stops multiplying NF4 weights packed; null on the CPU and without NF4.</summary>
    internal long? PackedRows { get; private set; }

    /// <summary>Set when the run is profiled.</summary>
    internal StepProfiler? Profiler { get; private set; }

    internal LoraOptions? Lora { get; private set; }

    internal BatchSource Training { get; private set; } = null!;

    internal BatchSource? Validation { get; private set; }

    internal int TrainSamples { get; private set; }

    internal int ValidationSamples { get; private set; }

    internal double PackingEfficiency { get; private set; } = 1;

    internal int TotalSteps { get; private set; }

    internal int WarmupSteps { get; private set; }

    internal IReadOnlyList<string> Choices => _choices;

    internal DecoderWeights Weights => _weights ?? throw new InvalidOperationException("weights are loaded by Load");

    internal Decoder Decoder => _decoder ?? throw new InvalidOperationException("the decoder is made by Load");

    internal IReadOnlyList<(string Category, long Bytes)> Memory { get; private set; } = [];

    internal long MemoryAvailable { get; private set; }

    private WeightOptions WeightOptions => new()
    {
        Format = Options.Method == FineTuneMethod.QLora ? BaseFormat.Nf4 : BaseFormat.AsStored,
        Precision = Device.Precision,
        TrainAll = Options.Method == FineTuneMethod.Full,
        Lora = Lora,
        Training = true,
        State = Options.Optimizer.State(),
        StateOnHost = Options.Optimizer.IsPaged(),
        LoraPlusRatio = (float)Options.LoraPlusRatio,
        Seed = (ulong)Options.Seed,
        ResidentLayers = Options.ResidentLayers,
        PackedRows = PackedRows ?? long.MaxValue,
    };

    private BufferMode Mode => Options.ActivationCheckpointing ? BufferMode.TrainingCheckpointed : BufferMode.Training;

    private int MaxRows => Math.Max(Training.MaxRows, Validation?.MaxRows ?? 0);

    /// <summary>Checks that the plan fits, then loads the weights and allocates everything a step touches.</summary>
    internal void Load()
    {
        // What reading the data left behind goes back to the system before the run takes its own memory.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        PlacementPlan placement = PlanMemory();
        if (Options.Profile) Profiler = new StepProfiler(Backend, Device.Precision.Activations());
        _weights = DecoderWeights.Load(Base, Config, Profiler is null ? Backend : Profiler.Backend, placement.Options);
        if (Options.Method == FineTuneMethod.QLora) _choices.Add(BaseText(_weights));
        if (PackedRows is { } rows) _choices.Add($"NF4 weights multiplied packed up to {rows} rows");
        if (Lora is not null) LoraInitialiser.Initialise(_weights, (ulong)Options.Seed);
        if (Options.InitAdapter is { } adapter) AdapterFiles.Read(AdapterFiles.Resolve(adapter), _weights);
        _decoder = new Decoder(_weights, placement.Mode, MaxRows, Options.SequenceLength!.Value);
    }

    /// <summary>Measures what the plan depends on, then plans; nothing large has been allocated yet.</summary>
    private PlacementPlan PlanMemory()
    {
        using TensorFiles files = TensorFiles.Open(Base.WeightFiles());
        var plan = new ModelPlan(Config, Backend, WeightOptions, m => WeightLoader.StoredAs(files, m));
        if (plan.HasNf4) PackedRows = Device.Tune(Options.Resume ? RunManifest.Find(Options.Output!)?.PackedRows : null);
        var memory = new RunMemory(this, files, WeightOptions, Mode, MaxRows);
        (Memory, MemoryAvailable) = (memory.Categories, memory.Available);
        _choices.AddRange(memory.Choices);
        if (Options.CudaGraphs != CudaGraphs.Off && Backend.CapturesGraphs)
            _choices.Add(memory.Placement.HostBytes == 0 ? "steps run as CUDA graphs" : "updates run as CUDA graphs; passes op by op, as layers come from host memory");
        return memory.Placement;
    }

    /// <summary>What streams to a GPU needs one, and something frozen.</summary>
    private void CheckPlacement()
    {
        if (Options.ResidentLayers is not null && Options.Method == FineTuneMethod.Full)
            throw FineTuneException.Usage("--resident-layers streams frozen weights, but --method full trains every weight; use lora or qlora, or leave it out.");
        if (Device.Name.Kind == DeviceKind.Cuda) return;
        bool opencl = Device.Name.Kind == DeviceKind.OpenCl;
        if (Options.ResidentLayers is not null)
            throw FineTuneException.Usage($"--resident-layers streams the other layers from host memory to a GPU; {(opencl ? "through OpenCL nothing is streamed" : "on the CPU there is nothing to stream to")}: leave it out, or use a GPU with --device cuda.");
        if (Options.Vram is not null)
            throw FineTuneException.Usage($"--vram caps what a run takes of a GPU's memory, but this one runs {(opencl ? "through OpenCL" : "on the CPU")}; use --memory-limit, or a GPU with --device cuda.");
    }

    private void CheckGraphs()
    {
        if (Options.CudaGraphs == CudaGraphs.On && !Backend.CapturesGraphs)
            throw FineTuneException.Usage($"--cuda-graphs on: {(Device.Name.Kind == DeviceKind.OpenCl ? "OpenCL records no graphs" : "the CPU library records no graphs, it runs each op at once")}; use --cuda-graphs auto, or a GPU with --device cuda.");
    }

    private void CheckOptimizer()
    {
        if (Options.Optimizer.IsPaged() && Device.Name.Kind != DeviceKind.Cuda)
        {
            throw FineTuneException.Usage(
                $"--optimizer {Options.Optimizer.Name()} keeps the state in host memory instead of a GPU's, but {(Device.Name.Kind == DeviceKind.Cpu ? "this run is on the CPU, where it lies there anyway" : "OpenCL reaches no host memory")}; use {Options.Optimizer.Unpaged().Name()}, or a GPU with --device cuda.");
        }
    }

    private void ResolveSequenceLength()
    {
        if (Options.SequenceLength is null)
        {
            Options.SequenceLength = Math.Min(DefaultSequenceLength, Config.MaxPositionEmbeddings);
            _choices.Add($"sequence length {Options.SequenceLength}");
        }
        else if (Options.SequenceLength > Config.MaxPositionEmbeddings)
        {
            throw FineTuneException.Usage(
                $"sequence_length is {Options.SequenceLength}, but {Base.ConfigPath} allows {Config.MaxPositionEmbeddings} positions; choose up to that.");
        }
    }

    private void ResolveAdapter()
    {
        bool full = Options.Method == FineTuneMethod.Full;
        if (Options.LearningRate is null)
        {
            Options.LearningRate = full ? 1e-5 : 2e-4;
            _choices.Add($"learning rate {Options.LearningRate:G}");
        }

        if (full)
        {
            if (Options.InitAdapter is not null) throw FineTuneException.Usage("init_adapter goes with lora and qlora; to train on from an adapter in full, merge it first with ftc merge.");
            return;
        }

        if (Options.InitAdapter is { } adapter)
        {
            Lora = PeftConfig.Read(AdapterFiles.Resolve(adapter)).Options with { Dropout = Options.Dropout };
            return;
        }

        Options.Alpha ??= 2 * Options.Rank;
        Lora = new LoraOptions
        {
            Rank = Options.Rank,
            Alpha = Options.Alpha.Value,
            UseRsLora = Options.RsLora,
            Dropout = Options.Dropout,
            TargetModules = Options.TargetModules,
            ModulesToSave = Options.ModulesToSave,
        };
    }

    private void EncodeData(CancellationToken cancellation)
    {
        TokenizedDataset data = Encode(Options.Data, cancellation);
        int[] training = [.. Enumerable.Range(0, data.Count)];
        if (Options.ValidationData is { } file)
        {
            TokenizedDataset validation = Encode(file, cancellation);
            Validation = Batches(validation, [.. Enumerable.Range(0, validation.Count)], seed: null, accumulation: 1);
            ValidationSamples = validation.Count;
        }
        else if (Options.ValidationFraction > 0)
        {
            DataSplit split = DataSplit.Create(data.Count, Options.ValidationFraction, (ulong)Options.Seed);
            training = [.. split.Training];
            if (split.Validation.Count > 0) Validation = Batches(data, [.. split.Validation], seed: null, accumulation: 1);
            else _choices.Add("no validation: there is one sample only");
            ValidationSamples = split.Validation.Count;
        }

        Training = Batches(data, training, (ulong)Options.Seed, Options.AccumulationSteps);
        TrainSamples = training.Length;
    }

    private TokenizedDataset Encode(string file, CancellationToken cancellation)
    {
        var encoder = new ExampleEncoder(Tokenizer, Template, new EncoderOptions
        {
            ContextLength = Options.SequenceLength!.Value,
            Overflow = Options.Overflow,
            TrainOnEos = Options.TrainOnEos,
        });
        TokenizedDataset data = TokenizedDataset.Load([file], encoder, cancellation);
        string template = encoder.Report.Formats.Keys.Any(f => f is ExampleFormat.Messages or ExampleFormat.ShareGpt or ExampleFormat.Alpaca) && Template is not null
            ? $"; {(Options.ChatTemplate is { } chosen ? $"chat template {chosen}" : "the model's own chat template")}" : "";
        _choices.Add($"{Path.GetFileName(file)}: {encoder.Report}{template}");
        return data;
    }

    private BatchSource Batches(TokenizedDataset data, int[] samples, ulong? seed, int accumulation)
    {
        int[][] rows = Options.Packing
            ? Packing.BestFitDecreasing(samples, data.LengthOf, Options.SequenceLength!.Value)
            : Packing.Unpacked(samples);
        if (seed is not null && Options.Packing) PackingEfficiency = Packing.Efficiency(rows, data.LengthOf, Options.SequenceLength!.Value);
        return new BatchSource(data, rows, Options.MicroBatchSize, accumulation, seed);
    }

    private void ResolveSchedule()
    {
        double steps = Options.MaxSteps ?? Math.Ceiling(Options.Epochs * Training.StepsPerEpoch);
        TotalSteps = (int)Math.Min(int.MaxValue, Math.Max(1, steps));
        WarmupSteps = Math.Min(TotalSteps, Options.WarmupSteps ?? (int)Math.Ceiling(Options.WarmupRatio * TotalSteps));
        Options.EvalEvery ??= Math.Max(1, (TotalSteps + DefaultEvaluations - 1) / DefaultEvaluations);
        Options.CheckpointEvery ??= Options.EvalEvery;
    }

    /// <summary>What a QLoRA base takes, and what of it stays wide.</summary>
    private static string BaseText(DecoderWeights weights)
    {
        WeightMatrix[] quantised = [.. weights.Matrices.Select(m => m.Weight).Where(w => w.Format == WeightFormat.Nf4)];
        long count = quantised.Sum(w => w.Rows * w.Columns), bytes = quantised.Sum(w => w.ByteCount);
        IEnumerable<string> wide = weights.Matrices.Where(m => m.Weight.Format != WeightFormat.Nf4)
            .Select(m => $"{m.Module.Name} {m.Weight.Format.ToString().ToLowerInvariant()} {RunMemory.Text(m.Weight.ByteCount)}");
        return $"base nf4: {count:N0} weights of {quantised.Length} linears in {RunMemory.Text(bytes)} ({(double)bytes / count:F3} bytes each); wide: {string.Join(", ", wide)}, norms and biases f32";
    }

    public void Dispose()
    {
        _decoder?.Dispose();
        _weights?.Dispose();
        Backend.Dispose();
    }
}
