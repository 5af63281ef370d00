using System.CommandLine;
using FineTuneCore.Generation;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc generate</c>: continues a text.</summary>
internal static class GenerateCommand
{
    public static Command Create()
    {
        var command = new Command("generate", "Continues a text, or answers one chat message with --chat.");
        var model = new ModelOptions();
        var sampling = new SamplingFlags(temperature: 0);
        var prompt = new Option<string>("--prompt") { Description = "The text to continue; - reads standard input.", HelpName = "TEXT", Required = true };
        var chat = new Option<bool>("--chat") { Description = "The prompt is a user's message, put through the chat template." };
        var system = new Option<string?>("--system") { Description = "System message, with --chat.", HelpName = "TEXT" };
        model.AddTo(command);
        foreach (Option option in (Option[])[prompt, chat, system]) command.Options.Add(option);
        sampling.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetValue(system) is not null && !result.GetValue(chat)) result.AddError("--system goes with --chat");
        });
        command.SetAction((result, cancellation) =>
        {
            using LanguageModel loaded = model.Load(result);
            string text = result.GetRequiredValue(prompt) is "-" ? Console.In.ReadToEnd() : result.GetRequiredValue(prompt);
            IEnumerable<string> pieces = result.GetValue(chat)
                ? loaded.Chat(Messages(result.GetValue(system), text), sampling.Read(result), cancellation)
                : loaded.Generate(text, sampling.Read(result), cancellation);
            foreach (string piece in pieces)
            {
                Console.Out.Write(piece);
                Console.Out.Flush();
            }

            Console.Out.WriteLine();
            return Task.FromResult(ExitCodes.Ok);
        });
        return command;
    }

    private static IEnumerable<ChatMessage> Messages(string? system, string user)
    {
        if (system is not null) yield return new ChatMessage("system", system);
        yield return new ChatMessage("user", user);
    }
}
