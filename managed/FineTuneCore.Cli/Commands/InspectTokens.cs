using System.CommandLine;
using System.Text.Json;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc inspect tokens</c>: texts in, token ids with offsets out.</summary>
internal static class InspectTokens
{
    public static Command Create()
    {
        var model = new Option<DirectoryInfo>("--model")
        {
            Description = "Model directory with tokenizer.json or tokenizer.model.",
            HelpName = "DIR",
            Required = true,
        };
        Option<FileInfo> jsonl = InspectCommand.JsonlOption("""{"text": "…", "add_special_tokens": true}""");
        var command = new Command("tokens", "Encodes texts: ids, tokens, offsets in UTF-16 characters, and the text decoded again.") { model, jsonl };
        command.SetAction(result =>
        {
            using Stream output = Console.OpenStandardOutput();
            return Run(result.GetRequiredValue(model).FullName, result.GetRequiredValue(jsonl), output);
        });
        return command;
    }

    internal static int Run(string model, FileInfo jsonl, Stream output)
    {
        Tokenizer tokenizer;
        try
        {
            tokenizer = Tokenizer.Load(model);
        }
        catch (TokenizationException e)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
        return JsonLines.Answer(jsonl, output, (request, writer) => Answer(tokenizer, request, writer));
    }

    private static void Answer(Tokenizer tokenizer, JsonElement request, Utf8JsonWriter writer)
    {
        if (!request.TryGetProperty("text", out JsonElement text) || text.ValueKind != JsonValueKind.String)
            throw new FormatException("the request has no \"text\", expected a string");
        bool addSpecialTokens = true;
        if (request.TryGetProperty("add_special_tokens", out JsonElement flag))
            addSpecialTokens = flag.ValueKind is JsonValueKind.True or JsonValueKind.False
                ? flag.GetBoolean()
                : throw new FormatException("\"add_special_tokens\" is not true or false");

        TokenEncoding encoding = tokenizer.Encode(text.GetString()!, addSpecialTokens);
        WriteIds(writer, "ids", encoding.Ids);
        writer.WriteStartArray("tokens");
        foreach (string token in encoding.Tokens)
            writer.WriteStringValue(token);
        writer.WriteEndArray();
        writer.WriteStartArray("offsets");
        foreach (TextRange range in encoding.Offsets)
        {
            writer.WriteStartArray();
            writer.WriteNumberValue(range.Start);
            writer.WriteNumberValue(range.End);
            writer.WriteEndArray();
        }
        writer.WriteEndArray();
        writer.WriteString("decoded", tokenizer.Decode([.. encoding.Ids], skipSpecialTokens: true));
    }

    internal static void WriteIds(Utf8JsonWriter writer, string name, IEnumerable<int> ids)
    {
        writer.WriteStartArray(name);
        foreach (int id in ids)
            writer.WriteNumberValue(id);
        writer.WriteEndArray();
    }
}
