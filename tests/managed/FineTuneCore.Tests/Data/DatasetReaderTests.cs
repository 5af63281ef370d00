using System.Text;
using System.Text.Json;
using FineTuneCore.Data;
using FineTuneCore.Tests.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Data;

public sealed class DatasetReaderTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Every_format_is_detected_row_by_row()
    {
        List<Example> examples = Read(
            """{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}""",
            """{"prompt": "p", "completion": "c"}""",
            """{"text": "t"}""",
            """{"instruction": "i", "input": "n", "output": "o"}""",
            """{"conversations": [{"from": "human", "value": "h"}, {"from": "gpt", "value": "g"}]}""",
            """{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "r"}]}""");
        examples.Select(e => e.Format).Should().Equal(
            ExampleFormat.Messages, ExampleFormat.PromptCompletion, ExampleFormat.Text, ExampleFormat.Alpaca, ExampleFormat.ShareGpt, ExampleFormat.PromptCompletion);
        examples.Select(e => e.Source.Line).Should().Equal(1, 2, 3, 4, 5, 6);
        Turns(examples[3]).Should().Equal("user:i\nn", "assistant:o");
        Turns(examples[4]).Should().Equal("user:h", "assistant:g");
        Turns(examples[5]).Should().Equal("user:q", "assistant:r");
        examples[1].Should().BeEquivalentTo(new { Prompt = "p", Completion = "c" });
    }

    [Fact]
    public void Messages_are_written_as_templates_take_them()
    {
        var chat = (ChatExample)Read("""
            {"messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "user", "content": "q", "name": "Bo"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]}, {"role": "function", "name": "f", "content": "2"}, {"role": "assistant", "content": "r", "weight": 0}, {"role": "user", "content": "again"}, {"role": "assistant", "content": "s", "weight": 1}], "tools": [{"type": "function"}]}
            """.Trim())[0];
        chat.Trained.Should().Equal(false, false, true, false, false, false, true);
        chat.Messages[0].GetProperty("content").GetString().Should().Be("ab");
        chat.Messages[1].GetProperty("name").GetString().Should().Be("Bo");
        chat.Messages[2].GetProperty("tool_calls")[0].GetProperty("function").GetProperty("arguments").GetProperty("x").GetInt32().Should().Be(1);
        chat.Messages[3].GetProperty("role").GetString().Should().Be("tool");
        chat.Messages[4].TryGetProperty("weight", out _).Should().BeFalse();
        chat.Tools!.Value.GetArrayLength().Should().Be(1);
    }

    [Theory]
    [InlineData("""[1]""", "the row is a list, expected an object")]
    [InlineData("""{"question": "a", "answer": "b"}""", "the row has the keys question, answer, expected messages")]
    [InlineData("""{"messages": {}}""", "messages is an object, expected a list of messages")]
    [InlineData("""{"messages": []}""", "the conversation has no messages")]
    [InlineData("""{"messages": [{"content": "a"}]}""", "messages[0] has no role")]
    [InlineData("""{"messages": [{"role": "bot", "content": "a"}]}""", "messages[0].role is bot; expected system, developer, user")]
    [InlineData("""{"messages": [{"role": "user", "content": 3}]}""", "messages[0].content is the number 3, expected a string")]
    [InlineData("""{"messages": [{"role": "user"}]}""", "messages[0] (user) has no content")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}]}""", "no assistant turn")]
    [InlineData("""{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]}""", "messages[1] is an assistant turn that is empty")]
    [InlineData("""{"messages": [{"role": "user", "content": "a", "weight": 1}, {"role": "assistant", "content": "b"}]}""", "messages[0] (user) has a weight")]
    [InlineData("""{"messages": [{"role": "assistant", "content": "b", "weight": 0.5}]}""", "messages[0].weight is the number 0.5, expected 0")]
    [InlineData("""{"messages": [{"role": "assistant", "content": "b", "weight": 0}]}""", "every assistant turn has weight 0")]
    [InlineData("""{"messages": [{"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant", "content": "b"}]}""", "messages[0].content[0] is of type \"image_url\"; only text")]
    [InlineData("""{"messages": [{"role": "assistant", "content": "a\u0000b"}]}""", "NUL character at position 1")]
    [InlineData("""{"messages": [{"role": "assistant", "content": "\ud83d"}]}""", "half a surrogate pair")]
    [InlineData("""{"messages": [{"role": "assistant", "content": "a"}], "tools": 3}""", "tools is the number 3")]
    [InlineData("""{"prompt": "p", "completion": ""}""", "completion is empty")]
    [InlineData("""{"prompt": 1, "completion": "c"}""", "prompt is the number 1, expected a string")]
    [InlineData("""{"text": ""}""", "text is empty")]
    [InlineData("""{"conversations": [{"from": "alien", "value": "x"}]}""", "conversations[0].from is alien")]
    [InlineData("""{"instruction": "i", "output": ""}""", "the answer in turn 2 is an assistant turn that is empty")]
    [InlineData("""{"text": "a" "b"}""", "byte 14: not valid JSON")]
    [InlineData("""{"text": "cut sho""", "the line may be cut short")]
    public void A_broken_row_is_an_error_with_file_line_and_reason(string row, string message)
    {
        string file = _directory.File("data.jsonl", """{"text": "fine"}""" + "\n\n" + row + "\n");
        FluentActions.Invoking(() => DatasetReader.Read(file).ToList()).Should().Throw<DataException>()
            .Which.Should().Match<DataException>(e => e.Message.StartsWith($"{file}:3") && e.Message.Contains(message) && e.Kind == FailureKind.DataInvalid);
    }

    [Fact]
    public void Line_4711_is_named()
    {
        string file = _directory.File("data.jsonl", string.Concat(Enumerable.Range(1, 5000).Select(i => i == 4711 ? "{\"text\": tru}\n" : "{\"text\": \"x\"}\n")));
        FluentActions.Invoking(() => DatasetReader.Read(file).Count()).Should().Throw<DataException>().WithMessage($"{file}:4711, byte *not valid JSON*");
    }

    [Fact]
    public void Several_broken_rows_are_listed_up_to_five()
    {
        string file = _directory.File("data.jsonl", string.Concat(Enumerable.Repeat("{}\n", 7)));
        string message = FluentActions.Invoking(() => DatasetReader.Read(file).ToList()).Should().Throw<DataException>().Which.Message;
        message.Should().StartWith("7 samples cannot be used; the first 5:").And.Contain($"{file}:5").And.NotContain($"{file}:6");
        file = _directory.File("many.jsonl", string.Concat(Enumerable.Repeat("{}\n", 1000)));
        FluentActions.Invoking(() => DatasetReader.Read(file).ToList()).Should().Throw<DataException>().WithMessage("100 or more samples*");
    }

    [Fact]
    public void A_byte_order_mark_and_windows_lines_are_tolerated()
    {
        string file = Path.Combine(_directory.Path, "bom.jsonl");
        File.WriteAllText(file, "{\"text\": \"a\"}\r\n{\"text\": \"b\"}\r\n", new UTF8Encoding(true));
        DatasetReader.Read(file).Cast<TextExample>().Select(e => e.Text).Should().Equal("a", "b");
    }

    [Fact]
    public void Bytes_that_are_not_UTF8_are_an_error_with_their_line()
    {
        string file = Path.Combine(_directory.Path, "latin.jsonl");
        File.WriteAllBytes(file, [.. "{\"text\": \"a\"}\n{\"text\": \"caf"u8, 0xE9, .. "\"}\n"u8]);
        FluentActions.Invoking(() => DatasetReader.Read(file).ToList()).Should().Throw<DataException>().WithMessage($"{file}:2*");
        string text = Path.Combine(_directory.Path, "latin.txt");
        File.WriteAllBytes(text, [.. "one\ntwo\ncaf"u8, 0xE9]);
        FluentActions.Invoking(() => DatasetReader.Read(text).ToList()).Should().Throw<DataException>().WithMessage($"{text}:3: bytes that are not UTF-8 (E9); save the file as UTF-8");
    }

    [Fact]
    public void A_json_file_is_an_array_of_rows()
    {
        string file = _directory.File("data.json", "[{\"text\": \"a\"},\n {\"text\": \"b\"}]");
        DatasetReader.Read(file).Select(e => e.Source.Line).Should().Equal(1, 2);
        file = _directory.File("lines.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
        FluentActions.Invoking(() => DatasetReader.Read(file).ToList()).Should().Throw<DataException>().WithMessage("*lines.json:2*belongs in a .jsonl file");
    }

    [Theory]
    [InlineData("empty.jsonl", "", "no rows")]
    [InlineData("empty.txt", " \n", "the file is empty")]
    [InlineData("empty.json", "[]", "the array is empty")]
    [InlineData("data.csv", "a,b", "files of type .csv are not read")]
    public void Files_without_rows_are_refused(string name, string content, string message) =>
        FluentActions.Invoking(() => DatasetReader.Read(_directory.File(name, content)).ToList()).Should().Throw<DataException>().WithMessage($"*{name}: *{message}*");

    [Fact]
    public void A_file_that_is_not_there_is_an_error() =>
        FluentActions.Invoking(() => DatasetReader.Read("nowhere.jsonl").ToList()).Should().Throw<DataException>().WithMessage("nowhere.jsonl: no such file*");

    [Theory]
    [InlineData("openai_cookbook_toy_chat_fine_tuning.jsonl", 5)]
    [InlineData("openai_dotnet_fine_tuning_sample.jsonl", 10)]
    [InlineData("openai_dotnet_fine_tuning_sample_validation.jsonl", 4)]
    [InlineData("gsm8k_train_1000_messages.jsonl", 1000)]
    public void Real_chat_files_are_read(string name, int rows)
    {
        List<Example> examples = [.. DatasetReader.Read(TestData.Path("datasets", name))];
        examples.Should().HaveCount(rows).And.AllBeOfType<ChatExample>();
    }

    [Fact]
    public void Lines_longer_than_the_buffer_are_read_whole()
    {
        string text = new('x', 300_000);
        string file = _directory.File("long.jsonl", $"{{\"text\": \"{text}\"}}\n{{\"text\": \"short\"}}");
        DatasetReader.Read(file).Cast<TextExample>().Select(e => e.Text.Length).Should().Equal(300_000, 5);
    }

    private List<Example> Read(params string[] rows) => [.. DatasetReader.Read(_directory.File("data.jsonl", string.Join('\n', rows)))];

    private static IEnumerable<string> Turns(Example example) =>
        ((ChatExample)example).Messages.Select(m => $"{m.GetProperty("role").GetString()}:{m.GetProperty("content").GetString()}");
}
