using FineTuneCore.TinyBase.Bpe;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.TinyBase.Tests.Bpe;

public class BpeTrainerTests
{
    private static readonly Dictionary<string, long> s_words = new() { ["hug"] = 10, ["pug"] = 5, ["pun"] = 12, ["bun"] = 4, ["hugs"] = 5 };

    [Fact] // by hand: u+g 20, u+n 16, h+ug 15, p+un 12, hug+s 5 = p+ug 5 (by spelling h first), b+un 4
    public void MergesTheMostFrequentPairFirst() => BpeTrainer.Train(s_words, 6).Should().Equal(
        ("u", "g"), ("u", "n"), ("h", "ug"), ("p", "un"), ("hug", "s"), ("p", "ug"));

    [Fact]
    public void StopsWhereNoPairOccursTwice() => BpeTrainer.Train(new Dictionary<string, long> { ["ab"] = 3, ["cd"] = 1 }, 10).Should().Equal(("a", "b"));

    [Fact]
    public void PairsAsFrequentGoBySpelling() => BpeTrainer.Train(new Dictionary<string, long> { ["xy"] = 2, ["ab"] = 2 }, 2).Should().Equal(("a", "b"), ("x", "y"));

    [Fact] // aaaa: a+a counts 3; merged from the left to aa aa
    public void RepeatedLettersMergeFromTheLeft() => BpeTrainer.Train(new Dictionary<string, long> { ["aaaa"] = 2 }, 5).Should().Equal(("a", "a"), ("aa", "aa"));

    [Fact]
    public void NothingComesOfNothing() => BpeTrainer.Train(new Dictionary<string, long>(), 5).Should().BeEmpty();
}
