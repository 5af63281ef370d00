using FineTuneCore.TinyBase.Support;
using FineTuneCore.Training;

namespace FineTuneCore.TinyBase;

/// <summary>
/// Makes the base model of <c>ftc quickstart</c>: <c>tiny-base WORK QUICKSTART</c> writes corpus, tokenizer and random weights into WORK, trains
/// them in full there, and puts the model into QUICKSTART/tiny-base and the support chats into QUICKSTART/data. Started again, it continues from the
/// newest checkpoint. <c>tiny-base --chats QUICKSTART</c> writes the chats only.
/// </summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        if (args.Length != 2)
        {
            Console.Error.WriteLine("usage: tiny-base WORK QUICKSTART | tiny-base --chats QUICKSTART");
            return 2;
        }

        string data = Path.Combine(args[1], "data");
        Directory.CreateDirectory(data);
        SupportChats.Write(data);
        if (args[0] != "--chats") MakeBase(args[0], Path.Combine(args[1], "tiny-base"));
        return 0;
    }

    private static void MakeBase(string work, string output)
    {
        string start = Path.Combine(work, "random"), corpus = Path.Combine(work, "corpus.jsonl"), practice = Path.Combine(work, "practice.jsonl");
        if (!Directory.Exists(Path.Combine(work, "run"))) TinyRecipe.Prepare(start, corpus);
        FineTuneResult first = Train(start, corpus, Path.Combine(work, "run"));
        if (!Directory.Exists(Path.Combine(work, "practice"))) TinyRecipe.WritePractice(practice);
        FineTuneResult result = Train(first.ModelPath, practice, Path.Combine(work, "practice"));
        Directory.CreateDirectory(output);
        foreach (string name in (string[])["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
        {
            File.Copy(Path.Combine(result.ModelPath, name), Path.Combine(output, name), overwrite: true);
        }

        Console.WriteLine($"validation loss {result.FinalValidationLoss:F4} after {result.Steps:N0} steps, {result.Seconds:F0} s; model in {output}");
    }

    private static FineTuneResult Train(string model, string corpus, string run) =>
        new FineTuner(TinyRecipe.Options(model, corpus, run, resume: Directory.Exists(run))).Run(new Lines());

    private sealed class Lines : IProgress<TrainingEvent>
    {
        public void Report(TrainingEvent value)
        {
            switch (value)
            {
                case RunStarted { Plan: var plan }:
                    Console.WriteLine($"{plan.Parameters:N0} parameters, {plan.TokensPerEpoch:N0} tokens, {plan.Steps:N0} steps; {plan.Device}");
                    break;
                case StepCompleted s when s.Step % 20 == 0:
                    Console.WriteLine($"step {s.Step} loss {s.Loss:F4} {s.TokensPerSecond:F0} tokens/s, {s.RemainingSeconds:F0} s left");
                    break;
                case Evaluated e:
                    Console.WriteLine($"step {e.Step} validation {e.Loss:F4}");
                    break;
                case RunNotice notice:
                    Console.WriteLine(notice.Message);
                    break;
            }
        }
    }
}
