using System.Text.Json;
using FineTuneCore.TinyBase.Corpus;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.TinyBase.Tests;

/// <summary>The committed model is the recipe's: its tokenizer and shape byte for byte, its weights by size.</summary>
public class CommittedModelTests
{
    private static readonly string s_committed = Path.Combine(AppContext.BaseDirectory, "../../../../../../managed/FineTuneCore.Cli/Quickstart/tiny-base");

    [Fact]
    public void ItsTokenizerIsTheOneOfTheRecipe()
    {
        using var directory = new TemporaryDirectory();
        TinyTokenizer.TrainAndWrite(directory.Path, CorpusWriter.Documents(TinyRecipe.TokenizerDocuments, TinyRecipe.Seed), TinyModel.VocabSize);
        foreach (string name in (string[])["tokenizer.json", "tokenizer_config.json"])
            directory.Bytes(name).Should().Equal(File.ReadAllBytes(Path.Combine(s_committed, name)));
    }

    [Fact]
    public void ItsShapeIsTheOneOfTheRecipe()
    {
        using var directory = new TemporaryDirectory();
        TinyModel.WriteRandom(directory.Path, TinyRecipe.Seed);
        using JsonDocument made = JsonDocument.Parse(directory.Bytes("config.json")), committed = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(s_committed, "config.json")));
        JsonElement.DeepEquals(made.RootElement, committed.RootElement).Should().BeTrue();
        new FileInfo(Path.Combine(s_committed, "model.safetensors")).Length.Should().Be(directory.Bytes("model.safetensors").Length).And.BeLessThan(8_000_000);
    }

    [Fact]
    public void TheFirstWeightsAreTheSameEachTime()
    {
        using TemporaryDirectory first = new(), second = new(), third = new();
        TinyModel.WriteRandom(first.Path, 1);
        TinyModel.WriteRandom(second.Path, 1);
        TinyModel.WriteRandom(third.Path, 2);
        first.Bytes("model.safetensors").Should().Equal(second.Bytes("model.safetensors")).And.NotEqual(third.Bytes("model.safetensors"));
    }
}
