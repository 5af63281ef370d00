using System.CommandLine;
using System.Globalization;
using FineTuneCore.Data;
using FineTuneCore.Evaluation;
using FineTuneCore.Generation;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc eval</c>: loss on a dataset, or perplexity of a text.</summary>
internal static class EvalCommand
{
    private static readonly Dictionary<string, PerplexityMethod> Methods = new()
    {
        ["hf"] = PerplexityMethod.HuggingFace,
        ["windows"] = PerplexityMethod.Windows,
        ["llama.cpp"] = PerplexityMethod.LlamaCpp,
    };

    public static Command Create()
    {
        var command = new Command("eval", "Scores data: loss on the tokens that training would train, or with --perplexity the perplexity of a text.");
        var model = new ModelOptions();
        var data = new Option<string>("--data") { Description = "Data as for ftc train; a UTF-8 text with --perplexity.", HelpName = "FILE", Required = true };
        var perplexity = new Option<string?>("--perplexity") { Description = "hf (overlapping windows), windows (BOS and window - 1 tokens), or llama.cpp (second halves).", HelpName = "METHOD" };
        perplexity.AcceptOnlyFromAmong([.. Methods.Keys]);
        var window = new Option<int?>("--window") { Description = "Tokens of a window [min(1024, context)].", HelpName = "N" };
        var stride = new Option<int?>("--stride") { Description = "Tokens between windows of --perplexity hf [half a window].", HelpName = "N" };
        var length = new Option<int?>("--sequence-length") { Description = "Tokens of a row [min(1024, context)].", HelpName = "N" };
        var overflow = new Option<OverflowPolicy>("--overflow") { Description = "Longer samples: error, truncate or drop [error].", HelpName = "POLICY" };
        var json = new Option<bool>("--json") { Description = "One JSON object instead of lines." };
        model.AddTo(command);
        foreach (Option option in (Option[])[data, perplexity, window, stride, length, overflow, json]) command.Options.Add(option);
        command.Validators.Add(result =>
        {
            bool scoresText = result.GetValue(perplexity) is not null;
            if (!scoresText && (result.GetValue(window) ?? result.GetValue(stride)) is not null) result.AddError("--window and --stride go with --perplexity");
            if (scoresText && result.GetValue(perplexity) != "hf" && result.GetValue(stride) is not null) result.AddError("--stride goes with --perplexity hf");
            if (scoresText && result.GetValue(length) is not null) result.AddError("--sequence-length goes without --perplexity; there it is --window");
        });
        command.SetAction(result =>
        {
            using LanguageModel loaded = model.Load(result);
            string file = result.GetRequiredValue(data);
            if (result.GetValue(perplexity) is { } method)
            {
                PerplexityResult score = Evaluator.Perplexity(loaded, file, Methods[method], result.GetValue(window), result.GetValue(stride));
                Print(result.GetValue(json), ("perplexity", score.Perplexity), ("mean_nll", score.MeanNll), ("scored_tokens", score.ScoredTokens));
                return ExitCodes.Ok;
            }

            EvaluationResult evaluation = Evaluator.Loss(loaded, file, result.GetValue(length), result.GetValue(overflow));
            if (!result.GetValue(json)) Console.Out.WriteLine($"data             {evaluation.Data}");
            Print(
                result.GetValue(json), ("loss", evaluation.Loss), ("perplexity", evaluation.Perplexity), ("token_accuracy", evaluation.Accuracy),
                ("samples", evaluation.Samples), ("tokens", evaluation.Tokens), ("trained_tokens", evaluation.TrainedTokens));
            return ExitCodes.Ok;
        });
        return command;
    }

    private static void Print(bool json, params (string Name, double Value)[] figures)
    {
        if (json)
        {
            Console.Out.WriteLine($"{{{string.Join(", ", figures.Select(f => $"\"{f.Name}\": {f.Value.ToString("R", CultureInfo.InvariantCulture)}"))}}}");
            return;
        }

        foreach ((string name, double value) in figures)
            Console.Out.WriteLine($"{name.Replace('_', ' '),-16} {(value == Math.Floor(value) ? value.ToString("N0", CultureInfo.InvariantCulture) : value.ToString("0.######", CultureInfo.InvariantCulture))}");
    }
}
