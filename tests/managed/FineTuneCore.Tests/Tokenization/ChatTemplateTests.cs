using System.Text.Json;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

public sealed class ChatTemplateTests
{
    private const string Chat = """[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]""";

    [Theory]
    [InlineData("chatml", "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n", "<|im_start|>assistant\n")]
    [InlineData("llama3", "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n")]
    [InlineData("plain", "<s>### User:\nHi\n\n### Assistant:\nYes?</s>\n\n", "### Assistant:\n")]
    [InlineData("zephyr", "<s><|user|>\nHi</s>\n<|assistant|>\nYes?</s>\n", "<|assistant|>\n")]
    public void Bundled_templates_render(string name, string text, string prompt)
    {
        ChatTemplate template = ChatTemplate.Bundled(name, "<s>", "</s>");
        template.Render(Request(Chat)).Text.Should().Be(text);
        template.Render(Request(Chat) with { AddGenerationPrompt = true }).Text.Should().Be(text + prompt);
        ChatTemplate.BundledNames.Should().Contain(name);
    }

    [Fact]
    public void A_bundled_template_that_is_not_there_is_refused_with_the_names_of_those_that_are() =>
        FluentActions.Invoking(() => ChatTemplate.Bundled("vicuna")).Should().Throw<ChatTemplateException>().WithMessage("*chatml, llama3, plain, zephyr*");

    [Fact]
    public void The_jinja_file_of_a_model_wins_over_its_configuration()
    {
        using var directory = new TemporaryDirectory();
        ChatTemplate.FromModelDirectory(directory.Path).Should().BeNull();
        directory.File("tokenizer_config.json", """{"bos_token": "<b>", "chat_template": "config {{ bos_token }}"}""");
        ChatTemplate.FromModelDirectory(directory.Path)!.Render(Request(Chat)).Text.Should().Be("config <b>");
        directory.File("chat_template.jinja", "file {{ bos_token }}");
        ChatTemplate.FromModelDirectory(directory.Path)!.Render(Request(Chat)).Text.Should().Be("file <b>");
    }

    [Fact]
    public void Of_several_templates_tool_use_is_taken_when_there_are_tools()
    {
        using var directory = new TemporaryDirectory();
        directory.File("tokenizer_config.json", """{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools | length }}"}]}""");
        ChatTemplate template = ChatTemplate.FromModelDirectory(directory.Path)!;
        template.Render(Request(Chat)).Text.Should().Be("plain");
        template.Render(Request(Chat) with { Tools = Json("null") }).Text.Should().Be("plain");
        template.Render(Request(Chat) with { Tools = Json("[{}]") }).Text.Should().Be("tools 1");
    }

    [Fact]
    public void Generation_blocks_give_the_ranges_of_what_the_assistant_says()
    {
        ChatTemplate template = ChatTemplate.FromString("t", "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %};{% endfor %}");
        RenderedChat rendered = template.Render(Request(Chat));
        rendered.Text.Should().Be("user:;assistant:Yes?;");
        rendered.Generated.Should().Equal(new TextRange(16, 20));
        template.MarksGeneration.Should().BeTrue();
    }

    [Theory]
    [InlineData("\n\n{{ nope.x }}", "line 3: 'nope' is undefined")]
    [InlineData("{% if true %}\n{{ messages[0].nope.x }}{% endif %}", "line 2: 'dict object' has no attribute 'nope'")]
    [InlineData("{{ raise_exception('only user and assistant') }}", "line 1: only user and assistant")]
    [InlineData("a\n{% include 'secret' %}", "line 2: {% include %} needs other templates")]
    [InlineData("{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}{% endfor %}{% endfor %}", "steps")]
    [InlineData("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested more than")]
    [InlineData("{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "over the limit")]
    [InlineData("{{ 'x' * 10000000000 }}", "over the limit")]
    [InlineData("{{ 2 ** 200 }}", "64 bits")]
    [InlineData("{{ '%.900000000f' % 1.5 }}", "precision")]
    [InlineData("{{ '%900000000s' % 1.5 }}", "over the limit")]
    [InlineData("{{ messages.append(1) }}", "append() changes a value")]
    [InlineData("{{ range(10000000) }}", "range() of more than")]
    public void What_fails_or_does_not_end_is_an_error_with_its_line(string template, string message) =>
        FluentActions.Invoking(() => ChatTemplate.FromString("t", template).Render(Request(Chat)))
            .Should().Throw<ChatTemplateException>().Which.Message.Should().StartWith("chat template t").And.Contain(message);

    [Fact]
    public void Deep_nesting_in_the_source_is_an_error_not_a_crash()
    {
        string deep = "{{ " + new string('(', 100_000) + "1" + new string(')', 100_000) + " }}";
        FluentActions.Invoking(() => ChatTemplate.FromString("t", deep)).Should().Throw<ChatTemplateException>().WithMessage("*deep*");
    }

    [Fact]
    public void Published_templates_render_as_published()
    {
        string file = TestData.Path("chat_templates", "renderings.json");
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(file));
        JsonElement conversations = golden.RootElement.GetProperty("conversations");
        int checkedCases = 0;
        foreach (JsonElement test in golden.RootElement.GetProperty("cases").EnumerateArray())
        {
            string name = test.GetProperty("template").GetString()!;
            string jinja = Path.Combine(Path.GetDirectoryName(file)!, "jinja", name);
            string source = File.Exists(jinja) ? File.ReadAllText(jinja) : golden.RootElement.GetProperty("templates_not_in_jinja_folder").GetProperty(name).GetString()!;
            ChatTemplate template = ChatTemplate.FromString(name, source, test.GetProperty("bos_token").GetString(), test.GetProperty("eos_token").GetString());
            ChatRequest request = new()
            {
                Messages = conversations.GetProperty(test.GetProperty("conversation").GetString()!),
                AddGenerationPrompt = test.GetProperty("add_generation_prompt").GetBoolean(),
                Now = new DateTimeOffset(2025, 1, 2, 3, 4, 5, TimeSpan.Zero),
            };
            if (test.GetProperty("error").ValueKind == JsonValueKind.String)
                FluentActions.Invoking(() => template.Render(request)).Should().Throw<ChatTemplateException>(name);
            else
                template.Render(request).Text.Should().Be(test.GetProperty("rendered").GetString(), name);
            checkedCases++;
        }
        checkedCases.Should().BeGreaterThan(70);
    }

    private static ChatRequest Request(string messages) => new() { Messages = Json(messages) };

    private static JsonElement Json(string json) => JsonDocument.Parse(json).RootElement.Clone();
}
