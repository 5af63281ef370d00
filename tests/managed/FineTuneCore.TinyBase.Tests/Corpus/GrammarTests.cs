using FineTuneCore.TinyBase.Corpus;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.TinyBase.Tests.Corpus;

public class GrammarTests
{
    private static string Write(string rules, ulong seed = 1)
    {
        var random = new SplitMix64(seed);
        return new Grammar(rules).Write("start", ref random);
    }

    [Fact]
    public void ASlotTakesAnAlternativeOfItsRule() => Write("start:\nI see {animal}.\nanimal:\nfoxes").Should().Be("I see foxes.");

    [Fact]
    public void CapitalsAndArticles() => Write("start:\n{^a} and {@a} and {^@b}\na:\nowl\nb:\nfox").Should().Be("Owl and an owl and A fox");

    [Fact]
    public void FieldsOfWhatIsRemembered() => Write("start:\n{h=person} said {h.1} knew {h.2}. {h}!\nperson:\nMia/she/her").Should().Be("Mia said she knew her. Mia!");

    [Fact]
    public void WhatIsRememberedHoldsInRulesBelow() => Write("start:\n{x=animal} {more}\nanimal:\nfox\nmore:\nand {x}").Should().Be("fox and fox");

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void TwoThatAreRememberedDiffer(ulong seed) => Write("start:\n{x=n} {y=n}\nn:\none | two", seed).Should().BeOneOf("one two", "two one");

    [Fact]
    public void WeightsCount()
    {
        var grammar = new Grammar("start:\n9* often\nrare");
        var random = new SplitMix64(5);
        int often = 0;
        for (int i = 0; i < 1000; i++) if (grammar.Write("start", ref random) == "often") often++;
        often.Should().BeInRange(860, 940); // 900 expected, standard deviation 9.5
    }

    [Fact]
    public void AnUnknownRuleIsRefusedByName() =>
        FluentActions.Invoking(() => new Grammar("start:\n{nothing}")).Should().Throw<FormatException>().WithMessage("*nothing*");

    [Fact]
    public void ARuleThatIsThereTwiceIsRefused() =>
        FluentActions.Invoking(() => new Grammar("start:\na\nstart:\nb")).Should().Throw<FormatException>().WithMessage("*start: is there twice*");
}
