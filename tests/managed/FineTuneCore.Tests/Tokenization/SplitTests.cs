using System.Text.Json;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.Normalizers;
using FineTuneCore.Tokenization.PreTokenizers;
using FineTuneCore.Tokenization.Regexes;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Tokenization;

public sealed class SplitTests
{
    public static TheoryData<string> PatternNames => [.. Golden().RootElement.GetProperty("patterns").EnumerateArray().Select(p => p.GetProperty("name").GetString()!)];

    [Theory]
    [MemberData(nameof(PatternNames))]
    public void Published_expressions_cut_as_a_code_point_engine_cuts(string name)
    {
        using JsonDocument golden = Golden();
        JsonElement pattern = golden.RootElement.GetProperty("patterns").EnumerateArray().Single(p => p.GetProperty("name").GetString() == name);
        var split = new SplitPreTokenizer(TextPattern.Regex(pattern.GetProperty("pattern").GetString()!), SplitBehavior.Isolated);
        int i = 0;
        foreach (JsonElement text in golden.RootElement.GetProperty("texts").EnumerateArray())
        {
            JsonElement lengths = pattern.GetProperty("lengths")[i++];
            Cut(split, text.GetString()!).Select(piece => piece.Length).Should().Equal(lengths.EnumerateArray().Select(l => l.GetInt32()), text.GetString());
        }
    }

    [Theory]
    [InlineData("Removed", false, "a|b|c")]
    [InlineData("Isolated", false, "a|-|-|b|-|c")]
    [InlineData("MergedWithPrevious", false, "a-|-|b-|c")]
    [InlineData("MergedWithNext", false, "a|-|-b|-c")]
    [InlineData("Contiguous", false, "a|--|b|-|c")]
    [InlineData("Removed", true, "-|-|-")]
    [InlineData("Contiguous", true, "a|--|b|-|c")]
    public void Behaviours_treat_the_match_as_documented(string behavior, bool invert, string expected) =>
        Cut(new SplitPreTokenizer(TextPattern.Literal("-"), Enum.Parse<SplitBehavior>(behavior), invert), "a--b-c")
            .Should().Equal(expected.Split('|'));

    [Theory]
    [InlineData(@"(?<n>a)\k<n>", @"\k")]
    [InlineData(@"\p{Klingon}+", "Klingon")]
    [InlineData(@"a(b", "unclosed (")]
    [InlineData(@"\x{1F600}", "1F600")]
    [InlineData(@"[a-\d]", "range")]
    public void What_has_no_translation_is_refused_by_name(string pattern, string named) =>
        FluentActions.Invoking(() => TextPattern.Regex(pattern)).Should().Throw<FormatException>().WithMessage($"*{named}*");

    [Theory]
    [InlineData(@"[\p{Lu}&&[^\p{Han}]]+", "ABc", "AB")]
    [InlineData(@"[\p{L}&&[^\p{Han}]]+", "ab我c", "ab")]
    [InlineData(@"\p{Han}+", "a我𠀀b", "我𠀀")]
    [InlineData(@"a{,2}", "aaa", "aa")]
    [InlineData(@"[[:punct:]]+", "a!$b", "!$")]
    [InlineData(@"x*+y", "xxy", "xxy")]
    [InlineData(@"[^\P{L}x]+", "xab1", "ab")]
    public void Oniguruma_spellings_find_their_first_match(string pattern, string text, string expected)
    {
        (int start, int length) = TextPattern.Regex(pattern).Matches(text)[0];
        text.Substring(start, length).Should().Be(expected);
    }

    [Fact]
    public void Normal_forms_agree_with_the_Unicode_database()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(GoldenFiles.Path("tokenization", "normal_forms.json")));
        foreach (JsonElement test in golden.RootElement.EnumerateArray())
            foreach (UnicodeForm form in Enum.GetValues<UnicodeForm>())
            {
                string text = test.GetProperty("text").GetString()!;
                new UnicodeNormalizer(form).Apply(new AlignedText(text)).Text
                    .Should().Be(test.GetProperty(form.ToString().ToLowerInvariant()).GetString(), "{0} of {1}", form, text);
            }
    }

    private static JsonDocument Golden() => JsonDocument.Parse(File.ReadAllBytes(GoldenFiles.Path("tokenization", "splits.json")));

    private static List<string> Cut(SplitPreTokenizer split, string text) =>
        split.Apply([new Piece(new AlignedText(text), 0, text.Length)]).ConvertAll(piece => piece.Span.ToString());
}
