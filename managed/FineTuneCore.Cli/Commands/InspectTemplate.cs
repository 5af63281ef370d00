using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using FineTuneCore.Data;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc inspect template</c>: conversations in, rendered text out; token ids too where a tokenizer is at hand.</summary>
internal static class InspectTemplate
{
    internal sealed record Settings(string? Model, string? Template, string? BosToken, string? EosToken, DateTimeOffset? Now);

    public static Command Create()
    {
        var model = new Option<DirectoryInfo?>("--model") { Description = "Model directory; its template and tokenizer are used.", HelpName = "DIR" };
        var template = new Option<FileInfo?>("--template") { Description = "Template file, instead of the model's.", HelpName = "FILE" };
        var bos = new Option<string?>("--bos-token") { Description = "What bos_token is in --template.", HelpName = "S" };
        var eos = new Option<string?>("--eos-token") { Description = "What eos_token is in --template.", HelpName = "S" };
        var now = new Option<DateTime?>("--now")
        {
            Description = "What strftime_now answers, such as 2025-01-02T03:04:05; default is the clock.",
            HelpName = "TIME",
            CustomParser = result => DateTime.TryParse(result.Tokens[0].Value, CultureInfo.InvariantCulture, out DateTime time) ? time : Fail(result),
        };
        Option<FileInfo> jsonl = InspectCommand.JsonlOption("""{"messages": […], "tools": […], "add_generation_prompt": false, …}""");
        var command = new Command("template", "Renders conversations: the text and, with a tokenizer, ids and which of them are trained.")
        {
            model, template, bos, eos, now, jsonl,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(model) is null && result.GetValue(template) is null)
                result.AddError("ftc inspect template needs --model DIR or --template FILE");
            if (result.GetValue(template) is null && (result.GetValue(bos) ?? result.GetValue(eos)) is not null)
                result.AddError("--bos-token and --eos-token go with --template; a model directory names its own");
        });
        command.SetAction(result =>
        {
            using Stream output = Console.OpenStandardOutput();
            var settings = new Settings(
                result.GetValue(model)?.FullName, result.GetValue(template)?.FullName, result.GetValue(bos), result.GetValue(eos),
                result.GetValue(now) is { } time ? new DateTimeOffset(time, TimeSpan.Zero) : null);
            return Run(settings, result.GetRequiredValue(jsonl), output);
        });
        return command;

        static DateTime? Fail(System.CommandLine.Parsing.ArgumentResult result)
        {
            result.AddError($"--now {result.Tokens[0].Value} is not a time, expected one such as 2025-01-02T03:04:05");
            return null;
        }
    }

    internal static int Run(Settings settings, FileInfo jsonl, Stream output)
    {
        Tokenizer? tokenizer = null;
        ChatTemplate template;
        try
        {
            tokenizer = settings.Model is null ? null : Tokenizer.Load(settings.Model);
            template = Template(settings, tokenizer);
        }
        catch (Exception e) when (e is ChatTemplateException or TokenizationException)
        {
            // A template that cannot be parsed is the answer to every request.
            Console.Error.WriteLine(e.Message);
            int unread = JsonLines.Answer(jsonl, output, (_, _) => throw e);
            return unread != 0 ? unread : 2;
        }
        return JsonLines.Answer(jsonl, output, (request, writer) => Answer(template, tokenizer, settings.Now, request, writer));
    }

    private static ChatTemplate Template(Settings settings, Tokenizer? tokenizer)
    {
        if (settings.Template is not null)
            return ChatTemplate.FromFile(settings.Template, settings.BosToken ?? tokenizer?.BosToken, settings.EosToken ?? tokenizer?.EosToken);
        return ChatTemplate.FromModelDirectory(settings.Model!) ?? throw new ChatTemplateException(
            $"{settings.Model}: the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); give one with --template FILE");
    }

    private static void Answer(ChatTemplate template, Tokenizer? tokenizer, DateTimeOffset? now, JsonElement request, Utf8JsonWriter writer)
    {
        ChatRequest chat = ToChatRequest(request, now);
        RenderedChat rendered = template.Render(chat);
        writer.WriteString("text", rendered.Text);
        if (tokenizer is null)
            return;
        TokenEncoding encoding = tokenizer.Encode(rendered.Text, addSpecialTokens: false);
        InspectTokens.WriteIds(writer, "ids", encoding.Ids);
        try
        {
            InspectTokens.WriteIds(writer, "mask", Mask(template, tokenizer, chat, rendered, encoding));
        }
        catch (ChatTemplateException e)
        {
            writer.WriteNull("mask");
            writer.WriteString("mask_error", e.Message);
        }
    }

    // 1 where training counts a token: what the assistant says, without turns of weight 0.
    private static IEnumerable<int> Mask(ChatTemplate template, Tokenizer tokenizer, ChatRequest chat, RenderedChat rendered, TokenEncoding encoding)
    {
        List<AssistantSpan> spans = new AssistantSpans(template, tokenizer.SpecialTexts).Find(chat, rendered);
        JsonElement[] messages = [.. chat.Messages.EnumerateArray()];
        return TurnMask.Create(tokenizer, encoding, rendered.Text, spans, IsTrained, TrainOnEos.Turn).Select(bit => (int)bit);

        bool IsTrained(int message) => !messages[message].TryGetProperty("weight", out JsonElement weight) || weight.GetRawText() != "0";
    }

    private static ChatRequest ToChatRequest(JsonElement request, DateTimeOffset? now)
    {
        JsonElement? messages = null;
        JsonElement? tools = null;
        bool addGenerationPrompt = false;
        var variables = new Dictionary<string, JsonElement>();
        foreach (JsonProperty member in request.EnumerateObject())
        {
            switch (member.Name)
            {
                case "messages":
                    messages = member.Value;
                    break;
                case "tools":
                    tools = member.Value;
                    break;
                case "add_generation_prompt":
                    addGenerationPrompt = member.Value.ValueKind is JsonValueKind.True or JsonValueKind.False
                        ? member.Value.GetBoolean()
                        : throw new FormatException("\"add_generation_prompt\" is not true or false");
                    break;
                default:
                    variables[member.Name] = member.Value;
                    break;
            }
        }
        return new ChatRequest
        {
            Messages = messages is { ValueKind: JsonValueKind.Array } list
                ? list
                : throw new FormatException("the request has no \"messages\", expected a list"),
            Tools = tools,
            AddGenerationPrompt = addGenerationPrompt,
            Variables = variables,
            Now = now,
        };
    }
}
