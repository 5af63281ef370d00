using System.Text;
using System.Text.Json;
using FineTuneCore.Cli.Commands;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

public sealed class InspectTests : IDisposable
{
    private const string Tokenizer = """
        {"added_tokens": [{"id": 4, "content": "<s>", "special": true}, {"id": 5, "content": "</s>", "special": true}], "normalizer": null, "pre_tokenizer": null,
         "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [4]}}},
         "decoder": {"type": "Fuse"}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "🦙": 3}, "merges": ["a b"]}}
        """;

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("ftc-test-");

    public InspectTests()
    {
        Write("tokenizer.json", Tokenizer);
        Write("tokenizer_config.json", """{"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"}""");
    }

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public void Tokens_answers_each_line_in_place()
    {
        (int code, List<JsonElement> lines) = Tokens("""{"text": "ab🦙a", "add_special_tokens": true}""", """{"text": "b", "add_special_tokens": false}""", "nonsense", """{"txt": 1}""", "[]");
        code.Should().Be(0);
        lines[0].GetRawText().Should().Be("""{"ids":[4,2,3,0],"tokens":["<s>","ab","🦙","a"],"offsets":[[0,0],[0,2],[2,4],[4,5]],"decoded":"ab🦙a"}"""
            .Replace("🦙", "\\uD83E\\uDD99"));
        lines[1].GetProperty("ids").GetRawText().Should().Be("[1]");
        lines.Skip(2).Should().OnlyContain(line => HasError(line));
        lines[3].GetProperty("error").GetString().Should().Be("the request has no \"text\", expected a string");
    }

    [Fact]
    public void Template_gives_text_ids_and_mask_of_a_model()
    {
        (int code, List<JsonElement> lines) = Template(new(_directory.FullName, null, null, null, null),
            """{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}""",
            """{"messages": 3}""", "{}");
        code.Should().Be(0);
        lines[0].GetRawText().Should().Be("""{"text":"a</s>b</s>","ids":[0,5,1,5],"mask":[0,0,1,1]}""");
        lines[1].GetProperty("error").GetString().Should().Contain("messages");
        lines[2].GetProperty("error").GetString().Should().Contain("messages");
    }

    [Fact]
    public void Template_takes_a_file_with_tokens_time_and_variables()
    {
        string file = Write("t.jinja", "{{ bos_token }}{{ strftime_now('%Y') }}{{ tools is defined }}{{ extra.k }}{{ add_generation_prompt }}{{ eos_token }}");
        InspectTemplate.Settings settings = new(null, file, "<b>", "<e>", new DateTimeOffset(2025, 1, 2, 3, 4, 5, TimeSpan.Zero));
        (_, List<JsonElement> lines) = Template(settings, """{"messages": [], "extra": {"k": 1}, "add_generation_prompt": true}""", """{"messages": [], "tools": []}""");
        lines[0].GetRawText().Should().Be("""{"text":"<b>2025False1True<e>"}""");
        lines[1].GetProperty("error").GetString().Should().Contain("'extra' is undefined");
    }

    [Fact]
    public void A_template_that_cannot_be_parsed_is_the_answer_to_every_request()
    {
        (int code, List<JsonElement> lines) = Template(new(null, Write("bad.jinja", "{% if %}"), null, null, null), """{"messages": []}""", """{"messages": []}""");
        code.Should().Be(2);
        lines.Should().HaveCount(2).And.OnlyContain(line => line.GetProperty("error").GetString()!.Contains("line 1"));
    }

    [Theory]
    [InlineData("inspect template --jsonl x", "needs --model DIR or --template FILE")]
    [InlineData("inspect template --model d --eos-token x --jsonl x", "go with --template")]
    [InlineData("inspect template --template d --now yesterdayish --jsonl x", "is not a time")]
    [InlineData("inspect tokens --jsonl x", "--model")]
    public void Wrong_options_are_refused(string line, string message) =>
        Program.CreateRoot().Parse(line).Errors.Should().Contain(error => error.Message.Contains(message));

    private static bool HasError(JsonElement line) => line.TryGetProperty("error", out _);

    private (int Code, List<JsonElement> Lines) Tokens(params string[] requests) =>
        Run(requests, (file, output) => InspectTokens.Run(_directory.FullName, file, output));

    private (int Code, List<JsonElement> Lines) Template(InspectTemplate.Settings settings, params string[] requests) =>
        Run(requests, (file, output) => InspectTemplate.Run(settings, file, output));

    private (int Code, List<JsonElement> Lines) Run(string[] requests, Func<FileInfo, Stream, int> run)
    {
        using var output = new MemoryStream();
        int code = run(new FileInfo(Write("requests.jsonl", string.Join('\n', requests))), output);
        return (code, [.. Encoding.UTF8.GetString(output.ToArray()).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)]);
    }

    private string Write(string name, string content)
    {
        string path = Path.Combine(_directory.FullName, name);
        File.WriteAllText(path, content);
        return path;
    }
}
