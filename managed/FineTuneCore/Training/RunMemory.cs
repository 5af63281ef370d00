using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Planning;

namespace FineTuneCore.Training;

/// <summary>
/// What a run takes of the device's memory, known before anything is allocated: refused with what would fit, or placed so that it stays below
/// --vram.
/// </summary>
internal sealed class RunMemory
{
    private const long KernelShare = 64; // of --vram: kernels that the driver loads at first use
    private const long MostForKernels = 256_000_000;

    private readonly RunPreparation _run;
    private readonly FineTuneOptions _options;
    private readonly Func<WeightOptions, ModelPlan> _planOf;
    private readonly int _rows;
    private readonly int _positions;
    private readonly long _budget;
    private readonly long _overhead;

    /// <param name="run">With device, data and options resolved.</param>
    /// <param name="files">The checkpoint.</param>
    /// <param name="asked">The weights as the options ask for them.</param>
    /// <param name="mode">Likewise what is kept for backward.</param>
    /// <param name="rows">Most tokens of a pass.</param>
    /// <exception cref="FineTuneException">It does not fit.</exception>
    internal RunMemory(RunPreparation run, TensorFiles files, WeightOptions asked, BufferMode mode, int rows)
    {
        (_run, _options, _rows, _positions) = (run, run.Options, rows, run.Options.SequenceLength!.Value);
        _planOf = o => new ModelPlan(run.Config, run.Backend, o, m => WeightLoader.StoredAs(files, m), m => WeightLoader.IsNested(files, m));
        Available = _budget = run.Backend.Info.MemoryAvailableBytes;
        if (_options.Vram is { } vram)
        {
            _overhead = Overhead(run.Backend, vram, rows);
            DeviceInfo info = run.Backend.Info;
            run.Backend.LimitBuffers(vram - info.MemoryOverheadBytes);
            Available = vram;
            _budget = Math.Min(vram - _overhead, info.MemoryAvailableBytes);
        }

        PlacementPlan smallest;
        PlacementPlan? found = _options.Vram is null
            ? OnlyAsAsked(asked, mode, out smallest)
            : PlacementPlan.Within(_budget, _planOf, asked, mode, rows, _positions, out smallest);
        Placement = found ?? throw DoesNotFit(smallest);
        Categories = [("weights", Placement.Memory.Weights), ("trained state", Placement.Memory.TrainedState), ("activations", Placement.Memory.Activations)];
        if (_options.Vram is not null) Categories = [.. Categories, ("driver and kernels", _overhead)];
        string because = _options.Vram is { } cap ? $"to stay below {Text(cap)} of the GPU: " : "";
        Choices = [.. Placement.Choices(mode).Select(choice => because + choice)];
        if (_planOf(Placement.Options).HostStateBytes is > 0 and long state) Choices = [.. Choices, $"optimiser's state in {Text(state)} of host memory"];
    }

    internal PlacementPlan Placement { get; }

    internal IReadOnlyList<(string Category, long Bytes)> Categories { get; }

    /// <summary>Bytes free before loading, or what --vram allows.</summary>
    internal long Available { get; }

    /// <summary>What was chosen so that it fits, a line each.</summary>
    internal IReadOnlyList<string> Choices { get; }

    private PlacementPlan? OnlyAsAsked(WeightOptions asked, BufferMode mode, out PlacementPlan smallest)
    {
        smallest = PlacementPlan.Of(_planOf(asked), asked, mode, _rows, _positions);
        return smallest.Memory.Total <= _budget ? smallest : null;
    }

    /// <summary>What of a cap goes to the driver and to kernels it loads at first use.</summary>
    internal static long Overhead(IBackend backend, long vram, int rows)
    {
        foreach (BackgroundWork work in Enum.GetValues<BackgroundWork>()) backend.Background(work, WeightsAhead.SharePercent(rows)); // they take memory too
        return backend.Info.MemoryOverheadBytes + Math.Min(vram / KernelShare, MostForKernels);
    }

    private FineTuneException DoesNotFit(PlacementPlan smallest)
    {
        MemoryPlan memory = smallest.Memory;
        string parts = $"weights {Text(memory.Weights)}, trained state {Text(memory.TrainedState)}, activations of {_rows} tokens {Text(memory.Activations)}";
        string needs = $"this run needs {Text(smallest.PeakBytes + _overhead)}";
        string remedies = string.Join("; ", Remedies(smallest));
        if (_options.Vram is not { } vram)
            return FineTuneException.DoesNotFit($"{needs} ({parts}), but {Text(_budget)} are free on {_run.Device.Name}. What would fit: {remedies}.");
        string allowed = _budget + _overhead < vram ? $"{Text(_budget + _overhead)} are free of the {Text(vram)} that --vram allows" : $"--vram allows {Text(vram)}";
        return FineTuneException.DoesNotFit(
            $"{needs} of {_run.Device.Name} {What(smallest)}({parts}, the driver and kernels {Text(_overhead)}), but {allowed}. What would fit: {remedies}.");
    }

    private string What(PlacementPlan smallest) => smallest.Options.ResidentLayers is { } resident
        ? $"even with activation checkpointing and {_run.Config.NumHiddenLayers - resident} layers streamed " : "even with activation checkpointing ";

    private IEnumerable<string> Remedies(PlacementPlan smallest)
    {
        bool Fits(WeightOptions o, BufferMode mode, int rows, out long bytes) => (bytes = PlacementPlan.Of(_planOf(o), o, mode, rows, _positions).PeakBytes) <= _budget;
        WeightOptions options = smallest.Options;
        BufferMode mode = smallest.Mode;
        int single = _rows / Math.Max(1, _options.MicroBatchSize);
        string one = $"--micro-batch-size 1 --accumulation-steps {_options.AccumulationSteps * _options.MicroBatchSize}";
        bool small = _options.MicroBatchSize > 1, wide = mode == BufferMode.Training;
        if (wide && Fits(options, BufferMode.TrainingCheckpointed, _rows, out long bytes)) yield return $"--activation-checkpointing ({Text(bytes)})";
        if (small && Fits(options, mode, single, out bytes)) yield return $"{one} ({Text(bytes)})";
        if (small && wide && Fits(options, BufferMode.TrainingCheckpointed, single, out bytes)) yield return $"{one} --activation-checkpointing ({Text(bytes)})";
        if (_options.Optimizer == OptimizerKind.AdamW && Fits(options with { State = OptimizerKind.AdamW8Bit.State() }, mode, _rows, out bytes))
            yield return $"--optimizer adamw-8bit ({Text(bytes)})";
        if (_run.Device.Name.Kind == DeviceKind.Cuda && _options.Optimizer is (OptimizerKind.AdamW or OptimizerKind.AdamW8Bit)
            && Fits(options with { StateOnHost = true }, mode, _rows, out bytes))
        {
            yield return $"--optimizer paged-{_options.Optimizer.Name()} ({Text(bytes)})";
        }

        if (_run.Device.Precision == Precision.Fp32) yield return "--precision bf16";
        if (_options.Method == FineTuneMethod.Full) yield return "--method lora or qlora";
        if (_options.Method == FineTuneMethod.Lora) yield return "--method qlora";
        if (_options.Vram is null && options.ResidentLayers is null && _run.Device.Name.Kind == DeviceKind.Cuda && _options.Method != FineTuneMethod.Full)
            yield return "--resident-layers N, which streams the other layers from host memory";
        if (_options.ResidentLayers > 0) yield return "a smaller --resident-layers";
        if (_options.Vram is not null) yield return "a larger --vram";
        if (_options.Vram is not null && _options.Method != FineTuneMethod.Full) yield return "a smaller --rank";
        yield return "a smaller --sequence-length";
    }

    internal static string Text(long bytes) => bytes >= 10_000_000_000 ? $"{bytes / 1e9:F1} GB" : $"{bytes / 1e6:F1} MB";
}
