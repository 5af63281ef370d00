using System.CommandLine;
using System.Text;
using FineTuneCore.Generation;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc chat</c>: a conversation in the terminal.</summary>
internal static class ChatCommand
{
    public static Command Create()
    {
        var command = new Command("chat", "Talks with a model: one message a line; /reset forgets, /exit or end of input leaves.");
        var model = new ModelOptions();
        var sampling = new SamplingFlags(temperature: 0.7);
        var system = new Option<string?>("--system") { Description = "System message.", HelpName = "TEXT" };
        model.AddTo(command);
        command.Options.Add(system);
        sampling.AddTo(command);
        command.SetAction((result, cancellation) =>
        {
            using LanguageModel loaded = model.Load(result);
            Converse(loaded, result.GetValue(system), sampling.Read(result), cancellation);
            return Task.FromResult(ExitCodes.Ok);
        });
        return command;
    }

    private static void Converse(LanguageModel model, string? system, SamplingOptions sampling, CancellationToken cancellation)
    {
        bool asks = !Console.IsInputRedirected;
        List<ChatMessage> history = Start(system);
        while (true)
        {
            if (asks) Console.Out.Write("> ");
            string? line = Console.In.ReadLine();
            if (line is null or "/exit") return;
            if (line.Trim().Length == 0) continue;
            if (line == "/reset")
            {
                history = Start(system);
                continue;
            }

            history.Add(new ChatMessage("user", line));
            var answer = new StringBuilder();
            foreach (string piece in model.Chat(history, sampling, cancellation))
            {
                Console.Out.Write(piece);
                Console.Out.Flush();
                answer.Append(piece);
            }

            Console.Out.WriteLine();
            history.Add(new ChatMessage("assistant", answer.ToString().Trim()));
        }
    }

    private static List<ChatMessage> Start(string? system) => system is null ? [] : [new ChatMessage("system", system)];
}
