using System.Text.Json;
using FineTuneCore.Data;
using FineTuneCore.Tests.Tokenization;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Data;

public sealed class ExampleEncoderTests : IDisposable
{
    private const string ChatMl = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    // Appends the end token where a conversation ends, as Phi's does.
    private const string EndsConversation = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}";

    // Writes a thinking block for the last answer only, as Qwen3's does.
    private const string RewritesHistory = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    // Has no generation prompt and refuses a conversation without user, as Mistral's does.
    private const string NoPrompt = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}";

    private const string Generation = "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}{{ '\n' }}{% else %}{{ m.content + '\n' }}{% endif %}{% endfor %}";

    private readonly TinyTokenizer _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Theory]
    [InlineData(ChatMl, "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n[B<|im_end|>]\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n[D<|im_end|>]\n")]
    [InlineData(EndsConversation, "<|user|>\nA<|end|>\n<|assistant|>\n[B<|end|>]\n<|user|>\nC<|end|>\n<|assistant|>\n[D<|end|>\n<|endoftext|>]")]
    [InlineData(RewritesHistory, "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n[B<|im_end|>]\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n[<think>\n\n</think>\n\nD<|im_end|>]\n")]
    [InlineData(NoPrompt, "<s>[INST] A [/INST][ B</s>][INST] C [/INST][ D</s>]")]
    [InlineData(Generation, "<|user|>A\n<|assistant|>[B<|end|>]\n<|user|>C\n<|assistant|>[D<|end|>]\n")]
    public void What_the_assistant_says_is_trained_whatever_the_template(string template, string expected) =>
        Masked(template, Chat("A", "B", "C", "D")).Should().Be(expected.Replace("[INST]", "{INST}").Replace("[/INST]", "{/INST}"));

    [Fact]
    public void Content_that_looks_like_the_template_does_not_confuse_it()
    {
        Masked(RewritesHistory, Chat("A", "<b>", "C", "<think>")).Should().Contain("assistant\n[<b><|im_end|>]\n").And.EndWith("[<think>\n\n</think>\n\n<think><|im_end|>]\n");
        Masked(ChatMl, Chat("B", "B", "B", "B")).Should().Be(
            "<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\n[B<|im_end|>]\n<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\n[B<|im_end|>]\n");
    }

    // A call in the history is written without the thinking block, whose beginning looks like the call's.
    [Theory]
    [InlineData("{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content }}{% for c in m.tool_calls %}{{ '<tool>' + c.function.name + '</tool>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "assistant\n[<tool>find</tool><|im_end|>]\n<|im_start|>tool\n7<|im_end|>\n<|im_start|>assistant\n[<think>\n\n</think>\n\nIt is 7.<|im_end|>]\n")]
    // Tools stand before the last message that is none of the assistant's; without its call the assistant's turn is refused, as Mistral's does.
    [InlineData("{% set others = messages | rejectattr('role', 'equalto', 'assistant') | list %}{% for m in messages %}{% if m == others[-1] %}{{ '(tools)' }}{% endif %}{% if m.tool_calls %}{{ '<tool>' + m.tool_calls[0].function.name + '</tool></s>' }}{% elif m.role == 'assistant' %}{% if messages[loop.index0 - 1].role != 'tool' %}{{ raise_exception('call first') }}{% endif %}{{ m.content + '</s>' }}{% else %}{{ '{' + m.content + '}' }}{% endif %}{% endfor %}",
        "{A}[<tool>find</tool></s>](tools){7}[It is 7.</s>]")]
    public void A_turn_that_calls_tools_is_trained_as_a_whole(string template, string expected)
    {
        using JsonDocument messages = JsonDocument.Parse("""
            [{"role": "user", "content": "A"}, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "find", "arguments": {}}}]},
             {"role": "tool", "content": "7"}, {"role": "assistant", "content": "It is 7."}]
            """);
        var chat = new ChatExample(ExampleFormat.Messages, Here, [.. messages.RootElement.EnumerateArray()], [false, true, false, true], null);
        Masked(template, chat).Should().EndWith(expected);
    }

    [Fact]
    public void A_turn_of_weight_0_is_not_trained() =>
        Masked(ChatMl, Chat("A", "B", "C", "D") with { Trained = [false, false, false, true] }).Should().Contain("assistant\nB<|im_end|>\n").And.EndWith("[D<|im_end|>]\n");

    [Theory]
    [InlineData(TrainOnEos.Turn, "A<|im_end|>\n", "[B<|im_end|>]", "[D<|im_end|>]")]
    [InlineData(TrainOnEos.All, "A[<|im_end|>]\n", "[B<|im_end|>]", "[D<|im_end|>]")]
    [InlineData(TrainOnEos.Last, "A<|im_end|>\n", "[B]<|im_end|>", "[D<|im_end|>]")]
    [InlineData(TrainOnEos.None, "A<|im_end|>\n", "[B]<|im_end|>", "[D]<|im_end|>")]
    public void Train_on_eos_decides_about_ends_of_turns(TrainOnEos policy, string user, string first, string last) =>
        Masked(ChatMl, Chat("A", "B", "C", "D"), Options() with { TrainOnEos = policy }).Should().Contain(user).And.Contain(first).And.Contain(last);

    [Fact]
    public void A_completion_is_trained_with_its_end_and_a_text_as_a_whole()
    {
        var encoder = new ExampleEncoder(_tiny.Tokenizer, null, Options());
        Show(encoder.Encode(new CompletionExample(Here, "Q: ", "yes"))[0]).Should().Be("<s>Q: [yes</s>]");
        Show(encoder.Encode(new CompletionExample(Here, "Q: ", "yes</s>"))[0]).Should().Be("<s>Q: [yes</s>]");
        Show(encoder.Encode(new TextExample(ExampleFormat.Text, Here, "whole"))[0]).Should().Be("<s>[whole</s>]");
    }

    [Fact]
    public void The_first_token_is_never_a_target()
    {
        using var without = new TinyTokenizer(addsBos: false);
        TokenizedExample sample = new ExampleEncoder(without.Tokenizer, null, Options()).Encode(new TextExample(ExampleFormat.Text, Here, "abc"))[0];
        sample.LossMask.Should().Equal(0, 1, 1, 1);
    }

    [Fact]
    public void A_template_that_writes_BOS_gets_no_second_one()
    {
        TokenizedExample sample = new ExampleEncoder(_tiny.Tokenizer, Template("<s>" + ChatMl), Options()).Encode(Chat("A", "B"))[0];
        sample.Ids.Count(id => id == _tiny.Tokenizer.BosId).Should().Be(1);
        Show(new ExampleEncoder(_tiny.Tokenizer, null, Options()).Encode(new CompletionExample(Here, "<s>Q: ", "yes"))[0]).Should().Be("<s>Q: [yes</s>]");
    }

    [Fact]
    public void A_plain_text_is_cut_into_pieces_of_the_context_length()
    {
        var encoder = new ExampleEncoder(_tiny.Tokenizer, null, Options() with { ContextLength = 4 });
        encoder.Encode(new TextExample(ExampleFormat.PlainText, Here, "abcdefg")).Select(Show).Should().Equal("<s>[abc]", "<s>[def]", "<s>[g</s>]");
        encoder.Report.Samples.Should().Be(3);
    }

    [Fact]
    public void Overflow_is_an_error_a_cut_or_a_loss_and_is_counted()
    {
        var text = new TextExample(ExampleFormat.Text, new SourceLocation("d.jsonl", 7), "abcdefgh");
        EncoderOptions options = Options() with { ContextLength = 5 };
        FluentActions.Invoking(() => new ExampleEncoder(_tiny.Tokenizer, null, options).Encode(text)).Should().Throw<DataException>()
            .WithMessage("d.jsonl:7: the sample has 10 tokens, the sequence length is 5*--sequence-length*--overflow truncate*--overflow drop*");
        var cutting = new ExampleEncoder(_tiny.Tokenizer, null, options with { Overflow = OverflowPolicy.Truncate });
        Show(cutting.Encode(text)[0]).Should().Be("<s>[abcd]");
        cutting.Report.Truncated.Should().Be(1);
        cutting.Encode(new CompletionExample(Here, "a long prompt", "x")).Should().BeEmpty("its trained part lies beyond the cut");
        cutting.Report.Dropped.Should().Be(1);
        var dropping = new ExampleEncoder(_tiny.Tokenizer, null, options with { Overflow = OverflowPolicy.Drop });
        dropping.Encode(text).Should().BeEmpty();
        dropping.Report.ToString().Should().Contain("0 samples").And.Contain("1 dropped");
    }

    [Fact]
    public void A_conversation_without_template_names_the_way_out() =>
        FluentActions.Invoking(() => new ExampleEncoder(_tiny.Tokenizer, null, Options()).Encode(Chat("A", "B"))).Should().Throw<DataException>()
            .WithMessage("d.jsonl:1: *no chat template*--chat-template NAME|FILE*chatml*");

    [Fact]
    public void A_template_that_refuses_names_file_and_line_of_the_sample() =>
        FluentActions.Invoking(() => Masked("{{ raise_exception('no') }}", Chat("A", "B"))).Should().Throw<DataException>().WithMessage("d.jsonl:1: chat template test, line 1: no");

    [Fact]
    public void A_template_that_leaves_the_answer_out_is_an_error() =>
        FluentActions.Invoking(() => Masked("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}", Chat("A", "B")))
            .Should().Throw<DataException>().WithMessage("d.jsonl:1: *cannot tell which part*");

    [Fact]
    public void Developer_turns_become_system_where_the_template_knows_none()
    {
        ChatExample chat = Chat("A", "B");
        chat = chat with { Messages = [JsonDocument.Parse("""{"role": "developer", "content": "D"}""").RootElement, .. chat.Messages], Trained = [false, .. chat.Trained] };
        var encoder = new ExampleEncoder(_tiny.Tokenizer, Template(ChatMl), Options());
        Show(encoder.Encode(chat)[0]).Should().StartWith("<|im_start|>system\nD<|im_end|>");
        encoder.Report.DeveloperAsSystem.Should().Be(1);
        Masked(ChatMl + "{# developer #}", chat).Should().StartWith("<|im_start|>developer\nD");
    }

    [Fact]
    public void Real_chats_on_a_real_tokenizer_train_exactly_the_answers()
    {
        string model = TestData.Path("tokenizers", "TinyLlama-1.1B-Chat-v1.0");
        Tokenizer tokenizer = Tokenizer.Load(model);
        ChatTemplate template = ChatTemplate.Resolve(model, null, tokenizer)!;
        var encoder = new ExampleEncoder(tokenizer, template, new EncoderOptions { ContextLength = 2048, Overflow = OverflowPolicy.Error });
        foreach (ChatExample chat in DatasetReader.Read(TestData.Path("datasets", "gsm8k_test_200_messages.jsonl")).Cast<ChatExample>())
        {
            TokenizedExample sample = encoder.Encode(chat)[0];
            int[] trained = [.. sample.Ids.Where((_, i) => sample.LossMask[i] == 1)];
            tokenizer.Decode(trained, false).Trim().Should().Be(chat.Messages[^1].GetProperty("content").GetString()!.Trim() + "</s>");
        }
        encoder.Report.Samples.Should().Be(200);
    }

    [Theory]
    [InlineData("chatml")]
    [InlineData("plain")]
    [InlineData("zephyr")]
    [InlineData("llama3")]
    public void Bundled_templates_train_a_model_without_template(string name)
    {
        string model = TestData.Path("models", "stories260K");
        Tokenizer tokenizer = Tokenizer.Load(model);
        ChatTemplate.Resolve(model, null, tokenizer).Should().BeNull();
        var encoder = new ExampleEncoder(tokenizer, ChatTemplate.Resolve(model, name, tokenizer), new EncoderOptions { ContextLength = 512, Overflow = OverflowPolicy.Truncate });
        TokenizedDataset data = TokenizedDataset.Load([TestData.Path("datasets", "openai_cookbook_toy_chat_fine_tuning.jsonl")], encoder, TestContext.Current.CancellationToken);
        data.Count.Should().Be(5);
        encoder.Report.Truncated.Should().BeGreaterThan(0);
        for (int i = 0; i < data.Count; i++)
        {
            data.IdsOf(i)[0].Should().Be(tokenizer.BosId);
            data.IdsOf(i)[1..].Contains(tokenizer.BosId!.Value).Should().BeFalse();
            data.LengthOf(i).Should().BeLessThanOrEqualTo(512);
            data.MaskOf(i).Contains((byte)1).Should().BeTrue();
        }
    }

    private static SourceLocation Here => new("d.jsonl", 1);

    private static EncoderOptions Options() => new() { ContextLength = 1000 };

    private ChatTemplate Template(string source) => ChatTemplate.FromString("test", source, "<s>", "</s>");

    private string Masked(string template, ChatExample chat, EncoderOptions? options = null)
    {
        // Brackets mark what is trained, so the template writes others.
        var encoder = new ExampleEncoder(_tiny.Tokenizer, Template(template.Replace("'[INST] '", "'{INST} '").Replace("' [/INST]'", "' {/INST}'")), options ?? Options());
        return Show(encoder.Encode(chat)[0]);
    }

    private string Show(TokenizedExample sample) => _tiny.Show(sample.Ids, sample.LossMask);

    private static ChatExample Chat(params string[] turns) => new(
        ExampleFormat.Messages, Here,
        [.. turns.Select((text, i) => JsonSerializer.SerializeToElement(new Dictionary<string, string> { ["role"] = i % 2 == 0 ? "user" : "assistant", ["content"] = text }))],
        [.. turns.Select((_, i) => i % 2 == 1)], null);
}
