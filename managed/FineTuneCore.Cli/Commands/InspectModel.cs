using System.CommandLine;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc inspect model</c>: what a model is, whether it is supported, and what each method would need.</summary>
internal static class InspectModel
{
    public static Command Create()
    {
        var model = new Argument<string>("DIR") { Description = "Model directory." };
        var length = new Option<int>("--sequence-length") { Description = "Tokens of a row, for the memory figures [1024].", HelpName = "N", DefaultValueFactory = _ => 1024 };
        var rows = new Option<int>("--micro-batch-size") { Description = "Rows per forward pass, for the memory figures [1].", HelpName = "N", DefaultValueFactory = _ => 1 };
        var rank = new Option<int>("--rank") { Description = "Rank of the adapters, for the memory figures [16].", HelpName = "N", DefaultValueFactory = _ => 16 };
        var vram = new Option<string?>("--vram") { Description = "Shows how training would stay below so much GPU memory, such as 24GB.", HelpName = "SIZE" };
        var device = new DeviceOptions();
        var command = new Command("model", "Shows architecture, parameters, dtypes, shapes, support, and the memory each method needs; a config.json alone is enough for the latter.")
        {
            model, length, rows, rank, vram,
        };
        device.AddTo(command);
        command.SetAction(result =>
        {
            ModelDirectory directory = ModelDirectory.Resolve(result.GetRequiredValue(model));
            ModelConfig config = ModelConfig.Load(directory.ConfigPath);
            if (directory.HasWeights)
            {
                using TensorFiles files = TensorFiles.Open(directory.WeightFiles());
                Print(directory, config, files);
            }
            else
            {
                PrintShape(directory, config);
                Line("weights", "none in this directory");
            }

            Device opened = Device.Open(device.Device(result), device.Precision(result), device.Threads(result));
            using IBackend backend = opened.Backend;
            var plans = new MethodPlans(config, opened, Math.Min(result.GetValue(length), config.MaxPositionEmbeddings), result.GetValue(rows), result.GetValue(rank));
            plans.Print();
            if (result.GetValue(vram) is { } size) plans.PrintWithin(size);
            return ExitCodes.Ok;
        });
        return command;
    }

    private static void PrintShape(ModelDirectory directory, ModelConfig c)
    {
        Line("model", directory.Path);
        Line("architecture", $"{c.ModelType}, supported: LoRA, QLoRA, full fine-tuning, evaluation, generation");
        Line("parameters", $"{c.ParameterCount:N0}");
        Line("layers", $"{c.NumHiddenLayers}, hidden size {c.HiddenSize}, intermediate size {c.IntermediateSize}");
        Line("attention", $"{c.NumAttentionHeads} heads, {c.NumKeyValueHeads} key-value heads, head dim {c.HeadDim}{(c.QkNorm ? ", q and k normalised" : "")}{(c.QkvBias ? ", biases on q, k, v" : "")}");
        Line("window", c.SlidingWindow.Max() == 0 ? "none" : $"{c.SlidingWindow.Max()} tokens on {c.SlidingWindow.Count(w => w > 0)} of {c.NumHiddenLayers} layers");
        Line("positions", $"{c.MaxPositionEmbeddings}, rope {c.Rope.Type}, theta {c.Rope.Theta:G}{(c.Rope.Factor != 1 ? $", factor {c.Rope.Factor:G}" : "")}");
        Line("vocabulary", $"{c.VocabSize}, head {(c.TieWordEmbeddings ? "tied to the embedding" : "of its own")}");
    }

    private static void Print(ModelDirectory directory, ModelConfig c, TensorFiles files)
    {
        PrintShape(directory, c);
        TensorEntry[] tensors = [.. files.Names.Select(n => files.Find(n)!)];
        Line("stored as", string.Join(", ", tensors.GroupBy(t => t.Type).OrderByDescending(g => g.Sum(t => t.ByteCount)).Select(g => $"{g.Key} {g.Sum(t => t.ByteCount) / 1e6:N1} MB in {g.Count()} tensors")));
        bool nf4 = files.Names.Any(n => n.EndsWith(".quant_state.bitsandbytes__nf4", StringComparison.Ordinal));
        if (nf4) Line("quantised", "bitsandbytes NF4");
        string[] unknown = [.. files.Names.Except(KnownNames(c), StringComparer.Ordinal).Where(n => !IsQuantPart(n))];
        if (unknown.Length > 0) Line("ignored", $"{unknown.Length} tensors this architecture does not use, such as {unknown[0]}");
        string[] missing = [.. KnownNames(c).Where(n => !files.Contains(n))];
        if (missing.Length > 0) Line("missing", $"{missing.Length} tensors, such as {missing[0]}: the model cannot be loaded");
        Line("tokenizer", File.Exists(directory.File("tokenizer.json")) ? "tokenizer.json" : File.Exists(directory.File("tokenizer.model")) ? "tokenizer.model" : "none: texts cannot be used");
    }

    private static IEnumerable<string> KnownNames(ModelConfig config) =>
        WeightNames.Modules(config).SelectMany(m => m.Bias ? (string[])[m.WeightName, m.BiasName] : [m.WeightName]);

    private static bool IsQuantPart(string name) => name.Contains(".weight.", StringComparison.Ordinal);

    internal static void Line(string what, string found) => Console.Out.WriteLine($"{what,-24} {found}");
}
