using FineTuneCore.Backends;

namespace FineTuneCore.Training;

/// <summary>Every option of a run in the order in which help and --print-config list them.</summary>
internal static class Settings
{
    internal static readonly IReadOnlyList<Setting> All =
    [
        Setting.Text("model", "base model: a Hugging Face directory, cache folder or org/name in the local cache (required)", o => o.Model, (o, v) => o.Model = v),
        Setting.Text("data", "training data: .jsonl (messages, prompt/completion, text, Alpaca, ShareGPT), .json or .txt (required)", o => o.Data, (o, v) => o.Data = v),
        Setting.Text("output", "run directory [runs/<model>-<method>-<time>]", o => o.Output, (o, v) => o.Output = v),
        Setting.Choice("method", "lora, qlora or full [lora]", o => o.Method, (o, v) => o.Method = v),
        Setting.Text("validation_data", "validation data [a part of the training data]", o => o.ValidationData, (o, v) => o.ValidationData = v),
        Setting.Number("validation_fraction", "part of the samples held out, 0 to 0.9 [0.1]", 0, 0.9, o => o.ValidationFraction, (o, v) => o.ValidationFraction = v),
        Setting.Text("chat_template", "a bundled template's name or a .jinja file [the model's own]", o => o.ChatTemplate, (o, v) => o.ChatTemplate = v),
        Setting.Integer("sequence_length", "tokens of one row, from 8 [min(1024, the model's context)]", 8, int.MaxValue, o => o.SequenceLength, (o, v) => o.SequenceLength = (int)v),
        Setting.Choice("overflow", "samples longer than that: error, truncate or drop [error]", o => o.Overflow, (o, v) => o.Overflow = v),
        Setting.Switch("packing", "short samples share a row, kept apart by attention [true]", o => o.Packing, (o, v) => o.Packing = v),
        Setting.Choice("train_on_eos", "end-of-turn tokens that are trained: turn, all, last, none [turn]", o => o.TrainOnEos, (o, v) => o.TrainOnEos = v),
        Setting.Integer("rank", "rank r of the adapter, from 1 [16]", 1, int.MaxValue, o => o.Rank, (o, v) => o.Rank = (int)v),
        Setting.Number("alpha", "numerator of the scaling alpha / r [2 r]", 1e-6, 1e6, o => o.Alpha, (o, v) => o.Alpha = v),
        Setting.Number("dropout", "dropout on the adapter's path, 0 to 0.9 [0]", 0, 0.9, o => o.Dropout, (o, v) => o.Dropout = v),
        Setting.List("target_modules", "adapted modules, such as q_proj,v_proj [all-linear]", o => o.TargetModules, (o, v) => o.TargetModules = v),
        Setting.List("modules_to_save", "modules trained in full beside the adapter, such as embed_tokens [none]", o => o.ModulesToSave, (o, v) => o.ModulesToSave = v),
        Setting.Switch("rs_lora", "scaling alpha / sqrt(r) [false]", o => o.RsLora, (o, v) => o.RsLora = v),
        Setting.Number("lora_plus_ratio", "learning rate of B over A (LoRA+), 1 to 64 [1]", 1, 64, o => o.LoraPlusRatio, (o, v) => o.LoraPlusRatio = v),
        Setting.Text("init_adapter", "adapter to start from; its rank, alpha and modules are taken over", o => o.InitAdapter, (o, v) => o.InitAdapter = v),
        Setting.Number("learning_rate", "peak learning rate [2e-4 for adapters, 1e-5 for full]", 0, 10, o => o.LearningRate, (o, v) => o.LearningRate = v),
        Setting.Choice("schedule", "cosine, linear or constant after warm-up [cosine]", o => o.Schedule, (o, v) => o.Schedule = v),
        Setting.Number("warmup_ratio", "part of the steps that warm up, 0 to 1 [0.03]", 0, 1, o => o.WarmupRatio, (o, v) => o.WarmupRatio = v),
        Setting.Integer("warmup_steps", "steps that warm up, over warmup_ratio", 0, int.MaxValue, o => o.WarmupSteps, (o, v) => o.WarmupSteps = (int)v),
        Setting.Named("optimizer", "adamw, adamw-8bit (its state in a quarter of the memory), paged-adamw or paged-adamw-8bit (the state in host memory, GPU only) or sgd [adamw]", OptimizerKinds.Names, o => o.Optimizer, (o, v) => o.Optimizer = v),
        Setting.Number("weight_decay", "decoupled weight decay, 0 to 1; norms and biases never decay [0]", 0, 1, o => o.WeightDecay, (o, v) => o.WeightDecay = v),
        Setting.Number("beta1", "AdamW's first decay, SGD's momentum, 0 to 0.9999 [0.9]", 0, 0.9999, o => o.Beta1, (o, v) => o.Beta1 = v),
        Setting.Number("beta2", "AdamW's second decay, 0 to 0.99999 [0.999]", 0, 0.99999, o => o.Beta2, (o, v) => o.Beta2 = v),
        Setting.Number("epsilon", "AdamW's epsilon [1e-8]", 1e-16, 1, o => o.Epsilon, (o, v) => o.Epsilon = v),
        Setting.Number("clip_norm", "largest global gradient norm, 0 = no clipping [1]", 0, 1e9, o => o.ClipNorm, (o, v) => o.ClipNorm = v),
        Setting.Number("epochs", "passes over the data, fractions allowed [3]", 1e-6, 1e6, o => o.Epochs, (o, v) => o.Epochs = v),
        Setting.Integer("max_steps", "optimiser steps, over epochs", 1, int.MaxValue, o => o.MaxSteps, (o, v) => o.MaxSteps = (int)v),
        Setting.Integer("micro_batch_size", "rows per forward pass [4]", 1, 1 << 20, o => o.MicroBatchSize, (o, v) => o.MicroBatchSize = (int)v),
        Setting.Integer("accumulation_steps", "forward passes per optimiser step [1]", 1, 1 << 20, o => o.AccumulationSteps, (o, v) => o.AccumulationSteps = (int)v),
        Setting.Integer("eval_every", "steps between validations [ten a run]", 1, int.MaxValue, o => o.EvalEvery, (o, v) => o.EvalEvery = (int)v),
        Setting.Integer("early_stopping", "validations without improvement before stopping, 0 = never [3]", 0, int.MaxValue, o => o.EarlyStopping, (o, v) => o.EarlyStopping = (int)v),
        Setting.Integer("checkpoint_every", "steps between checkpoints [with every validation]", 1, int.MaxValue, o => o.CheckpointEvery, (o, v) => o.CheckpointEvery = (int)v),
        Setting.Integer("keep_checkpoints", "checkpoints kept beside the best, from 1 [2]", 1, int.MaxValue, o => o.KeepCheckpoints, (o, v) => o.KeepCheckpoints = (int)v),
        Setting.Switch("activation_checkpointing", "recompute blocks in backward: less memory, more time [false]", o => o.ActivationCheckpointing, (o, v) => o.ActivationCheckpointing = v),
        Setting.Integer("seed", "seed of order, initial adapter and dropout [42]", 0, int.MaxValue, o => o.Seed, (o, v) => o.Seed = (int)v),
        Setting.Integer("threads", "CPU threads, 1 to 256 [all this process may use]", 1, 256, o => o.Threads, (o, v) => o.Threads = (int)v),
        Setting.Bytes("memory_limit", "memory this run may take, such as 8GB [what is free]", o => o.MemoryLimit, (o, v) => o.MemoryLimit = v),
        Setting.Bytes("vram", "GPU memory this process may take, such as 24GB: checkpointing, then layers streamed from host memory [what is free]", o => o.Vram, (o, v) => o.Vram = v),
        Setting.Integer("resident_layers", "layers whose frozen weights stay on the GPU, the others' are streamed from host memory [all, or as vram allows]", 0, int.MaxValue, o => o.ResidentLayers, (o, v) => o.ResidentLayers = (int)v),
        Setting.Checked("device", "auto, cpu, cuda, cuda:N, opencl or opencl:N; auto takes an NVIDIA GPU where one can be used [auto]", DeviceName.Expected, t => DeviceName.TryParse(t) is not null, o => o.Device, (o, v) => o.Device = v),
        Setting.Checked("precision", "auto, fp32 or bf16; auto is bf16 on CUDA, fp32 on the CPU, where bf16 halves activations and is faster with AVX512-BF16 [auto]", Device.PrecisionsExpected, Device.IsPrecision, o => o.Precision, (o, v) => o.Precision = v),
        Setting.Choice("cuda_graphs", "steps recorded once and launched as one, the numbers stay the same: auto, on or off [auto: on a GPU]", o => o.CudaGraphs, (o, v) => o.CudaGraphs = v),
        Setting.Switch("profile", "time of every op and its share of the machine's peak, at the end and in profile.json; each op is waited for [false]", o => o.Profile, (o, v) => o.Profile = v),
        Setting.Switch("resume", "continue the run in output from its newest checkpoint [false]", o => o.Resume, (o, v) => o.Resume = v),
    ];

    /// <summary>Finds a key or a flag's name; dashes and underscores are the same.</summary>
    internal static Setting? Find(string key) => All.FirstOrDefault(s => s.Key == key.Replace('-', '_'));

    /// <summary>The known key nearest to an unknown one, by edit distance, when it is near enough to be a slip.</summary>
    internal static string? Suggest(string key)
    {
        string wanted = key.Replace('-', '_').ToLowerInvariant();
        (string Key, int Distance) best = All.Select(s => (s.Key, Distance(wanted, s.Key))).MinBy(p => p.Item2);
        return best.Distance <= Math.Max(2, wanted.Length / 3) ? best.Key : null;
    }

    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)));
        }

        return row[^1];
    }
}
