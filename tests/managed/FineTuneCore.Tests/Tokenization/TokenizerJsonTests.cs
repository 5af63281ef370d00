using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>Small tokenizer.json files written here, one behaviour each.</summary>
public sealed class TokenizerJsonTests
{
    private const string Vocabulary = """{"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "b": 5, "c": 6, "ab": 7, "▁a": 8, "<0xC3>": 9, "<0xA9>": 10, "abc": 11}""";
    private const string Merges = """["a b", "▁ a", "ab c"]""";

    [Fact]
    public void Ignore_merges_takes_a_whole_piece_that_is_a_token()
    {
        using var directory = new TemporaryDirectory();
        Load(directory, model: """ "ignore_merges": false """, merges: "[]").Encode("abc", false).Ids.Should().Equal(4, 5, 6);
        Load(directory, model: """ "ignore_merges": true """, merges: "[]").Encode("abc", false).Ids.Should().Equal(11);
    }

    [Theory]
    [InlineData("true", new[] { 4, 0, 5 })]
    [InlineData("false", new[] { 4, 0, 0, 5 })]
    public void Fuse_unk_joins_neighbouring_unknowns(string fuse, int[] ids)
    {
        using var directory = new TemporaryDirectory();
        Tokenizer tokenizer = Load(directory, model: $$""" "unk_token": "<unk>", "fuse_unk": {{fuse}} """);
        TokenEncoding encoding = tokenizer.Encode("axyb", false);
        encoding.Ids.Should().Equal(ids);
        encoding.Offsets[^1].Should().Be(new TextRange(3, 4));
    }

    [Fact]
    public void Byte_fallback_names_the_whole_character_in_each_offset()
    {
        using var directory = new TemporaryDirectory();
        TokenEncoding encoding = Load(directory, model: """ "byte_fallback": true """).Encode("aéb", false);
        encoding.Ids.Should().Equal(4, 9, 10, 5);
        encoding.Offsets.Should().Equal(new TextRange(0, 1), new TextRange(1, 2), new TextRange(1, 2), new TextRange(2, 3));
    }

    [Theory]
    [InlineData("always", "a<x>a", new[] { 8, 12, 8 })]
    [InlineData("first", "a<x>a", new[] { 8, 12, 4 })]
    [InlineData("never", "a<x>a", new[] { 4, 12, 4 })]
    [InlineData("first", "<x>a", new[] { 12, 4 })]
    [InlineData("always", " a", new[] { 8 })]
    public void Metaspace_prepends_by_its_scheme(string scheme, string text, int[] ids)
    {
        using var directory = new TemporaryDirectory();
        Load(directory,
            preTokenizer: $$"""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "{{scheme}}", "split": true}""",
            added: """{"id": 12, "content": "<x>", "special": true}""").Encode(text, false).Ids.Should().Equal(ids);
    }

    [Theory]
    [InlineData(""" "lstrip": true """, "a  <x> b", 1, 6)]
    [InlineData(""" "rstrip": true """, "a  <x> b", 3, 7)]
    [InlineData(""" "special": true """, "a  <x> b", 3, 6)]
    public void Added_tokens_take_white_space_along_as_asked(string flag, string text, int start, int end)
    {
        using var directory = new TemporaryDirectory();
        TokenEncoding encoding = Load(directory, added: $$"""{"id": 12, "content": "<x>", {{flag}}}""").Encode(text, false);
        int index = encoding.Ids.ToList().IndexOf(12);
        encoding.Offsets[index].Should().Be(new TextRange(start, end));
    }

    [Fact]
    public void Single_word_tokens_need_an_edge_on_both_sides_and_the_longest_wins()
    {
        using var directory = new TemporaryDirectory();
        Tokenizer tokenizer = Load(directory,
            added: """{"id": 12, "content": "cab", "single_word": true}, {"id": 13, "content": "<x>"}, {"id": 14, "content": "<x><x>"}""");
        tokenizer.Encode("cab", false).Ids.Should().Equal(12);
        tokenizer.Encode("acab", false).Ids.Should().NotContain(12);
        tokenizer.Encode("<x><x><x>", false).Ids.Should().Equal(14, 13);
    }

    [Fact]
    public void Template_processing_adds_what_it_names_only_when_asked()
    {
        using var directory = new TemporaryDirectory();
        directory.File("tokenizer_config.json", """{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}""");
        Tokenizer tokenizer = Load(directory, post: """
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"SpecialToken": {"id": "</s>", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
             "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}}
            """);
        tokenizer.Encode("ab", true).Ids.Should().Equal(1, 7, 2);
        tokenizer.Encode("ab", false).Ids.Should().Equal(7);
        (tokenizer.AddsBos, tokenizer.AddsEos).Should().Be((true, true));
    }

    [Fact]
    public void Normalised_added_tokens_are_found_in_the_normalised_text()
    {
        using var directory = new TemporaryDirectory();
        Tokenizer tokenizer = Load(directory, normalizer: """{"type": "Lowercase"}""",
            added: """{"id": 12, "content": "ABBA", "normalized": true}, {"id": 13, "content": "XX", "normalized": false}""");
        tokenizer.Encode("abba", false).Ids.Should().Equal(12);
        tokenizer.Encode("xx", false).Ids.Should().NotContain(13);
        tokenizer.Encode("XX", false).Ids.Should().Equal(13);
    }

    [Fact]
    public void Tokens_that_only_the_configuration_declares_are_added()
    {
        using var directory = new TemporaryDirectory();
        directory.File("tokenizer_config.json", """{"added_tokens_decoder": {"12": {"content": "<|end|>", "special": true}}, "eos_token": "<|end|>"}""");
        Tokenizer tokenizer = Load(directory);
        tokenizer.Encode("a<|end|>", false).Ids.Should().Equal(4, 12);
        tokenizer.EosId.Should().Be(12);
        tokenizer.VocabSize.Should().Be(13);
        tokenizer.Decode([4, 12], skipSpecialTokens: true).Should().Be("a");

        directory.File("tokenizer_config.json", """{"added_tokens_decoder": {"12": {"content": "<|end|>", "special": true, "rstrip": true}}}""");
        Load(directory, added: """{"id": 12, "content": "<|end|>", "special": true}""").Encode("<|end|>  ", false).Ids.Should().Equal([12], "its flags win");
    }

    [Theory]
    [InlineData("", new[] { 1, 4 })]
    [InlineData(""", "add_bos_token": true, "add_eos_token": false""", new[] { 1, 4 })]
    [InlineData(""", "add_bos_token": false""", new[] { 4 })]
    [InlineData(""", "add_eos_token": true""", new[] { 1, 4, 2 })]
    [InlineData(""", "add_bos_token": false, "add_eos_token": true""", new[] { 4, 2 })]
    public void The_configuration_says_whether_texts_begin_and_end_with_special_tokens(string flags, int[] ids)
    {
        using var directory = new TemporaryDirectory();
        directory.File("tokenizer_config.json", $$"""{"bos_token": "<s>", "eos_token": "</s>"{{flags}}}""");
        Tokenizer tokenizer = Load(directory, post: """
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
            """);
        tokenizer.Encode("a", addSpecialTokens: true).Ids.Should().Equal(ids);
        tokenizer.Encode("a", addSpecialTokens: false).Ids.Should().Equal(4);
        (tokenizer.AddsBos, tokenizer.AddsEos).Should().Be((ids[0] == 1, ids[^1] == 2));
    }

    [Fact]
    public void Tokens_that_the_configuration_names_are_special_where_the_vocabulary_has_them()
    {
        using var directory = new TemporaryDirectory();
        directory.File("tokenizer_config.json",
            """{"bos_token": {"__type": "AddedToken", "content": "<s>"}, "pad_token": "[PAD]", "additional_special_tokens": ["abc", "[X]"]}""");
        Tokenizer tokenizer = Load(directory);
        tokenizer.Encode("a<s>abcb", false).Ids.Should().Equal(4, 1, 11, 5);
        tokenizer.Decode([4, 1, 11, 5], skipSpecialTokens: true).Should().Be("ab");
        tokenizer.VocabSize.Should().Be(12, "no ids are made up for names that the vocabulary lacks");
    }

    [Theory]
    [InlineData("normalizer", """{"type": "Nmt2"}""", "$.normalizer is the normalizer Nmt2")]
    [InlineData("pre_tokenizer", """{"type": "Sequence", "pretokenizers": [{"type": "UnicodeScripts"}]}""", "$.pre_tokenizer.pretokenizers[0] is the pre-tokenizer UnicodeScripts")]
    [InlineData("pre_tokenizer", """{"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}""", "$.pre_tokenizer.pattern.Regex")]
    [InlineData("decoder", """{"type": "CTC"}""", "$.decoder is the decoder CTC")]
    [InlineData("post_processor", """{"type": "Foo"}""", "$.post_processor is the post-processor Foo")]
    [InlineData("model", """{"type": "WordPiece"}""", "$.model.type is the model WordPiece")]
    [InlineData("model", """{"type": "BPE", "vocab": {"a": "x"}, "merges": []}""", "$.model.vocab[\"a\"] is \"x\", expected a token id")]
    [InlineData("model", """{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}""", "$.model.merges[0] is \"a b\", expected a merge")]
    [InlineData("added_tokens", """[{"id": 1}]""", "$.added_tokens[0].content is missing, expected a string")]
    public void What_is_unknown_or_broken_is_refused_with_file_and_path(string section, string json, string message)
    {
        using var directory = new TemporaryDirectory();
        string model = section == "model" ? "" : $$""" "model": {"type": "BPE", "vocab": {{Vocabulary}}, "merges": {{Merges}}}, """;
        string file = directory.File("tokenizer.json", $$"""{ {{model}} "{{section}}": {{json}} }""");
        FluentActions.Invoking(() => Tokenizer.Load(directory.Path)).Should().Throw<TokenizationException>()
            .Which.Message.Should().StartWith(file).And.Contain(message);
    }

    [Fact]
    public void A_file_that_is_cut_short_is_refused_with_line_and_remedy()
    {
        using var directory = new TemporaryDirectory();
        directory.File("tokenizer.json", "{\n \"model\": {");
        FluentActions.Invoking(() => Tokenizer.Load(directory.Path)).Should().Throw<TokenizationException>().WithMessage("*line 2*fetch it again");
        FluentActions.Invoking(() => Tokenizer.Load(Path.Combine(directory.Path, "none"))).Should().Throw<TokenizationException>().WithMessage("*no such directory*");
    }

    [Fact]
    public void A_SentencePiece_file_that_is_cut_short_is_refused()
    {
        using var directory = new TemporaryDirectory();
        File.WriteAllBytes(Path.Combine(directory.Path, "tokenizer.model"), [0x0A, 0x20, 0x0A]);
        FluentActions.Invoking(() => Tokenizer.Load(directory.Path)).Should().Throw<TokenizationException>().WithMessage("*tokenizer.model: not a readable SentencePiece model*");
    }

    private static Tokenizer Load(
        TemporaryDirectory directory, string model = """ "dropout": null """, string merges = Merges, string added = "", string normalizer = "null",
        string preTokenizer = "null", string post = "null")
    {
        directory.File("tokenizer.json", $$"""
            {"added_tokens": [{{added}}], "normalizer": {{normalizer}}, "pre_tokenizer": {{preTokenizer}}, "post_processor": {{post}},
             "decoder": {"type": "Fuse"}, "model": {"type": "BPE", {{model}}, "vocab": {{Vocabulary}}, "merges": {{merges}} } }
            """);
        return Tokenizer.Load(directory.Path);
    }
}
