using FineTuneCore.Cli.Commands;
using FineTuneCore.Cli.Output;
using FineTuneCore.Generation;
using FineTuneCore.Training;

namespace FineTuneCore.Cli.Quickstart;

/// <summary>The tour: answers of the base model, its fine-tuning, answers afterwards, and by how much they are better.</summary>
internal sealed class QuickstartTour(FineTuneOptions options, TextWriter output, IRunDisplay display)
{
    private const int MaxAnswerTokens = 48; // twice the longest answer of the chats
    private static readonly string[] s_shown = ["How long does the warranty last?", "My F3 leaks water.", "The F3 does not turn on."];

    /// <summary>Options that make the tiny model learn the chats in about a quarter of a minute on two free cores.</summary>
    internal static FineTuneOptions Options(FineTuneMethod method, string? directory, int? threads) => new()
    {
        Model = QuickstartFiles.Model,
        Data = QuickstartFiles.Chats,
        ValidationData = QuickstartFiles.HeldOut,
        Output = directory ?? $"ftc-quickstart-{DateTime.Now:yyyyMMdd-HHmmss}",
        Method = method,
        Threads = threads,
        SequenceLength = 256,
        MicroBatchSize = 1,
        LearningRate = 5e-3, // so small a model takes, and needs, a higher one than the default
        Epochs = 5,
        EarlyStopping = 0,
        KeepCheckpoints = 1,
    };

    /// <summary>Runs everything; the exit code says whether the model is better afterwards.</summary>
    internal int Run()
    {
        QuickstartFiles.Check();
        if (Directory.Exists(options.Output) && Directory.EnumerateFileSystemEntries(options.Output).Any())
            throw FineTuneException.Usage($"{options.Output} exists and is not empty; choose another directory with --output.");
        List<HeldOutChat> chats = QuickstartFiles.ReadHeldOut();

        output.WriteLine("ftc quickstart teaches a tiny language model to answer for the support of a coffee machine: here, on this machine, offline.");
        Heading("1 of 3", $"the base model on three of {chats.Count} questions that are held out of training");
        List<string> before = Answers(options.Model, chats);
        foreach (int i in Shown(chats)) Show(("question", chats[i].Question), ("answer", before[i]));

        Heading("2 of 3", "it is trained on chats with other questions about the same things");
        FineTuneResult result;
        using (display) result = TrainCommand.Train(options, display);
        if (result.Cancelled)
        {
            foreach (string line in RunText.Result(result)) output.WriteLine(line);
            return ExitCodes.Cancelled;
        }

        Heading("3 of 3", "the same questions again");
        List<string> after = Answers(result.Output, chats);
        foreach (int i in Shown(chats)) Show(("question", chats[i].Question), ("before", before[i]), ("after", after[i]));
        return Summary(result, Right(chats, before), Right(chats, after), chats.Count);
    }

    private int Summary(FineTuneResult result, int rightBefore, int rightAfter, int count)
    {
        (double before, double after) = (result.InitialValidationLoss!.Value, result.FinalValidationLoss!.Value);
        bool better = after < before && rightAfter >= rightBefore;
        Heading("result", better ? $"the model is better: held-out loss {100 * (1 - after / before):F0} % lower" : "the model is NOT better than before");
        output.WriteLine($"  held-out loss    {RunText.Loss(before)} → {RunText.Loss(after)}");
        output.WriteLine($"  right answers    {rightBefore} of {count} → {rightAfter} of {count}, word for word");
        output.WriteLine($"  training         {result.Steps:N0} steps in {RunText.Duration(result.Seconds)}, {result.TokensPerSecond:N0} tokens/s");
        output.WriteLine($"  adapter          {result.ModelPath}");
        output.WriteLine($"  loss curve       {Path.Combine(result.Output, RunDirectory.ReportName)}");
        output.WriteLine($"  everything       {result.Output} (options, metrics, checkpoints)");
        if (!better)
        {
            output.WriteLine();
            output.WriteLine($"This should not happen; please report it with {Path.Combine(result.Output, RunManifest.FileName)} and the lines above.");
            return ExitCodes.Failed;
        }

        Heading("next", "try these");
        output.WriteLine("  chat with it");
        output.WriteLine($"    {ProgramName.Text} chat --model {result.Output}");
        output.WriteLine("  make one model of base and adapter");
        output.WriteLine($"    {ProgramName.Text} merge --help");
        output.WriteLine("  do the same with your own model and chats");
        output.WriteLine($"    {ProgramName.Text} train --method qlora --model DIR --data CHATS.jsonl");
        return ExitCodes.Ok;
    }

    private List<string> Answers(string model, List<HeldOutChat> chats)
    {
        using LanguageModel loaded = LanguageModel.Load(model, threads: options.Threads ?? 0, device: options.Device, precision: options.Precision);
        var sampling = new SamplingOptions { MaxTokens = MaxAnswerTokens };
        return [.. chats.Select(c => string.Concat(loaded.Chat([new ChatMessage("user", c.Question)], sampling)).Trim())];
    }

    private static IEnumerable<int> Shown(List<HeldOutChat> chats) => s_shown.Select(q => chats.FindIndex(c => c.Question == q));

    private static int Right(List<HeldOutChat> chats, List<string> answers) => chats.Zip(answers).Count(p => p.First.Answer == p.Second);

    private void Heading(string where, string what)
    {
        output.WriteLine();
        output.WriteLine($"── {where}: {what}");
    }

    private void Show(params (string Name, string Text)[] lines)
    {
        foreach ((string name, string text) in lines) output.WriteLine($"  {name,-9} {text.ReplaceLineEndings(" ")}");
    }
}
