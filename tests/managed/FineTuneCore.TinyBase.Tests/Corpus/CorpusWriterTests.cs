using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using FineTuneCore.TinyBase.Corpus;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.TinyBase.Tests.Corpus;

public class CorpusWriterTests
{
    // Changes with the grammars, and then the committed model has to be made again: ./build.sh tiny-base.
    private const string FirstDocuments = "0aa6cd324b2367f497d02e42abf0284b7a31165ac87336b34c80f8f732f14c00";

    private static readonly List<string> s_documents = [.. CorpusWriter.Documents(2000, TinyRecipe.Seed)];

    [Fact]
    public void TheSameSeedWritesTheSameCorpus() =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', s_documents)))).Should().Be(FirstDocuments);

    [Fact]
    public void AnotherSeedWritesAnother() => CorpusWriter.Documents(2000, TinyRecipe.Seed + 1).Should().NotEqual(s_documents);

    [Fact]
    public void NoSlotIsLeftOpen() => s_documents.Should().NotContain(d => d.Contains('{') || d.Contains('}') || d.Contains("[q]") || d.Contains("[a]") || d.Contains('/'));

    [Fact]
    public void ChatsAreWholeTurnsAndEndWithTheAssistant()
    {
        var chat = new Regex(@"^(<\|im_start\|>system\n[^<]+<\|im_end\|>\n)?(<\|im_start\|>user\n[^<]+<\|im_end\|>\n<\|im_start\|>assistant\n[^<]+<\|im_end\|>\n)+$");
        List<string> chats = [.. s_documents.Where(d => d.Contains("<|im_", StringComparison.Ordinal))];
        chats.Should().HaveCountGreaterThan(1000).And.OnlyContain(d => chat.IsMatch(d));
    }

    [Fact]
    public void ItIsVaried() => s_documents.Distinct().Should().HaveCountGreaterThan(1500);

    [Fact]
    public void TheProductOfTheSupportChatsIsNotInIt() => s_documents.Should().NotContain(d => d.Contains("Fernwell") || d.Contains("F3 "));
}
