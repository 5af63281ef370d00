using FineTuneCore.Data;

namespace FineTuneCore.Training;

/// <summary>What is trained.</summary>
public enum FineTuneMethod
{
    /// <summary>Low-rank adapters over a frozen base. Hu et al. 2021, arXiv:2106.09685.</summary>
    Lora,

    /// <summary>LoRA over a base kept in 4-bit NormalFloat. Dettmers et al. 2023, arXiv:2305.14314.</summary>
    QLora,

    /// <summary>Every weight.</summary>
    Full,
}

/// <summary>Which optimiser.</summary>
public enum OptimizerKind
{
    /// <summary>AdamW: Loshchilov &amp; Hutter 2019, arXiv:1711.05101.</summary>
    AdamW,

    /// <summary>AdamW whose state takes 8 bits a moment, of small tensors too, a quarter of the memory: Dettmers et al. 2022, arXiv:2110.02861.</summary>
    AdamW8Bit,

    /// <summary>AdamW whose state lies in host memory, where a GPU's update reads and writes it over the bus: none of it in the GPU's memory.</summary>
    PagedAdamW,

    /// <summary>Both: a quarter of the state, in host memory.</summary>
    PagedAdamW8Bit,

    /// <summary>Stochastic gradient descent with momentum <see cref="FineTuneOptions.Beta1"/>.</summary>
    Sgd,
}

/// <summary>Whether steps are recorded as CUDA graphs.</summary>
public enum CudaGraphs
{
    /// <summary>Where the device can.</summary>
    Auto,

    /// <summary>Refused where it cannot.</summary>
    On,

    /// <summary>Never.</summary>
    Off,
}

/// <summary>
/// Everything a fine-tuning run can be told. Property names are the keys of the YAML file and the flags of <c>ftc train</c> in their
/// spelling (LearningRate, learning_rate, --learning-rate); a null is chosen from model, data and method, and reported.
/// </summary>
public sealed class FineTuneOptions
{
    /// <summary>Base model: a Hugging Face directory, its cache folder, or org/name in the local cache. Required.</summary>
    public string Model { get; set; } = "";

    /// <summary>Training data: .jsonl, .json or .txt. Required.</summary>
    public string Data { get; set; } = "";

    /// <summary>Run directory; created. Default runs/&lt;model&gt;-&lt;method&gt;-&lt;time&gt;.</summary>
    public string? Output { get; set; }

    /// <summary>What is trained. Default LoRA.</summary>
    public FineTuneMethod Method { get; set; } = FineTuneMethod.Lora;

    /// <summary>Validation data; when null, <see cref="ValidationFraction"/> of the training data is held out.</summary>
    public string? ValidationData { get; set; }

    /// <summary>Part of the samples held out for validation, 0 to 0.9. Default 0.1; 0 = none.</summary>
    public double ValidationFraction { get; set; } = 0.1;

    /// <summary>A bundled chat template's name or a .jinja file; null = the model's own.</summary>
    public string? ChatTemplate { get; set; }

    /// <summary>Tokens of one row, from 8 up to the model's context. Default min(1024, the model's).</summary>
    public int? SequenceLength { get; set; }

    /// <summary>Samples longer than the sequence length. Default: the run is refused.</summary>
    public OverflowPolicy Overflow { get; set; } = OverflowPolicy.Error;

    /// <summary>Several short samples share a row, kept apart by attention. Default true.</summary>
    public bool Packing { get; set; } = true;

    /// <summary>Which tokens that end a turn are trained. Default those of trained turns.</summary>
    public TrainOnEos TrainOnEos { get; set; } = TrainOnEos.Turn;

    /// <summary>Rank r of the adapter, from 1. Default 16.</summary>
    public int Rank { get; set; } = 16;

    /// <summary>Numerator of the scaling alpha / r. Default 2 r.</summary>
    public double? Alpha { get; set; }

    /// <summary>Chance of dropping a feature on the adapter's path, 0 to 0.9. Default 0.</summary>
    public double Dropout { get; set; }

    /// <summary>Adapted modules: all-linear, or names such as q_proj,v_proj. Default all-linear.</summary>
    public IReadOnlyList<string> TargetModules { get; set; } = ["all-linear"];

    /// <summary>Modules trained in full beside the adapter, such as embed_tokens. Default none.</summary>
    public IReadOnlyList<string> ModulesToSave { get; set; } = [];

    /// <summary>Scaling alpha / √r instead of alpha / r. Default false.</summary>
    public bool RsLora { get; set; }

    /// <summary>Learning rate of B over that of A (LoRA+), 1 to 64. Default 1 = off.</summary>
    public double LoraPlusRatio { get; set; } = 1;

    /// <summary>An adapter to start from; its rank, alpha and modules are taken over.</summary>
    public string? InitAdapter { get; set; }

    /// <summary>Peak learning rate. Default 2e-4 (LoRA, QLoRA), 1e-5 (full).</summary>
    public double? LearningRate { get; set; }

    /// <summary>Curve after warm-up. Default cosine.</summary>
    public ScheduleKind Schedule { get; set; } = ScheduleKind.Cosine;

    /// <summary>Part of the steps that warm up, 0 to 1. Default 0.03.</summary>
    public double WarmupRatio { get; set; } = 0.03;

    /// <summary>Steps that warm up, over <see cref="WarmupRatio"/>.</summary>
    public int? WarmupSteps { get; set; }

    /// <summary>Optimiser. Default AdamW.</summary>
    public OptimizerKind Optimizer { get; set; } = OptimizerKind.AdamW;

    /// <summary>Decoupled weight decay, 0 to 1. Default 0; norms and biases never decay.</summary>
    public double WeightDecay { get; set; }

    /// <summary>AdamW's first decay (SGD: momentum), 0 to 1. Default 0.9.</summary>
    public double Beta1 { get; set; } = 0.9;

    /// <summary>AdamW's second decay, 0 to 1. Default 0.999.</summary>
    public double Beta2 { get; set; } = 0.999;

    /// <summary>AdamW's epsilon. Default 1e-8.</summary>
    public double Epsilon { get; set; } = 1e-8;

    /// <summary>Largest global gradient norm; 0 = no clipping. Default 1.</summary>
    public double ClipNorm { get; set; } = 1;

    /// <summary>Passes over the data; a fraction is allowed. Default 3.</summary>
    public double Epochs { get; set; } = 3;

    /// <summary>Optimiser steps, over <see cref="Epochs"/>.</summary>
    public int? MaxSteps { get; set; }

    /// <summary>Rows per forward pass. Default 4 packed rows or 4 samples.</summary>
    public int MicroBatchSize { get; set; } = 4;

    /// <summary>Forward passes per optimiser step. Default 1.</summary>
    public int AccumulationSteps { get; set; } = 1;

    /// <summary>Steps between validations. Default ten times a run.</summary>
    public int? EvalEvery { get; set; }

    /// <summary>Validations without improvement before the run stops and the best state comes back; 0 = never. Default 3.</summary>
    public int EarlyStopping { get; set; } = 3;

    /// <summary>Steps between checkpoints. Default with every validation.</summary>
    public int? CheckpointEvery { get; set; }

    /// <summary>Checkpoints kept beside the best one, from 1. Default 2.</summary>
    public int KeepCheckpoints { get; set; } = 2;

    /// <summary>Blocks are computed again in backward instead of kept: less memory, about a third more time. Default false.</summary>
    public bool ActivationCheckpointing { get; set; }

    /// <summary>Seed of order, initial adapter and dropout. Default 42.</summary>
    public int Seed { get; set; } = 42;

    /// <summary>CPU threads; null = all this process may use.</summary>
    public int? Threads { get; set; }

    /// <summary>Memory this run may take, in bytes; null = what is free.</summary>
    public long? MemoryLimit { get; set; }

    /// <summary>
    /// What the process may take of the GPU's memory, in bytes, the driver's context included; null = what is free. To stay below it blocks are
    /// computed again in backward, then layers are streamed from host memory.
    /// </summary>
    public long? Vram { get; set; }

    /// <summary>Layers, from the first on, whose frozen weights stay on the GPU; the others' are streamed from host memory. Default all, or what <see cref="Vram"/> leaves room for.</summary>
    public int? ResidentLayers { get; set; }

    /// <summary>Where it runs: auto, cpu, cuda, cuda:N, opencl or opencl:N. Default auto: the first NVIDIA GPU where one can be used, else the CPU.</summary>
    public string Device { get; set; } = "auto";

    /// <summary>Arithmetic: auto, fp32 or bf16. Default auto: bf16 on CUDA, fp32 on the CPU, where bf16 is faster with AVX512-BF16.</summary>
    public string Precision { get; set; } = "auto";

    /// <summary>Steps recorded once and launched as one (CUDA): auto, on or off. Changes no number. Default auto: where the device can.</summary>
    public CudaGraphs CudaGraphs { get; set; } = CudaGraphs.Auto;

    /// <summary>Time every op of the steps and say what share of the machine's peak it reaches. Changes no number; ops are waited for.</summary>
    public bool Profile { get; set; }

    /// <summary>Continue the run in <see cref="Output"/> from its newest valid checkpoint.</summary>
    public bool Resume { get; set; }
}
