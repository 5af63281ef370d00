using System.Text.Json;
using FineTuneCore.TinyBase.Support;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.TinyBase.Tests.Support;

public class SupportChatsTests
{
    private static readonly string s_committed = Path.Combine(AppContext.BaseDirectory, "../../../../../../managed/FineTuneCore.Cli/Quickstart/data");

    private static List<(string Question, string Answer)> Chats(TemporaryDirectory directory, string name)
    {
        SupportChats.Write(directory.Path);
        var chats = new List<(string, string)>();
        foreach (string line in File.ReadLines(Path.Combine(directory.Path, name)))
        {
            using JsonDocument row = JsonDocument.Parse(line);
            JsonElement[] messages = [.. row.RootElement.GetProperty("messages").EnumerateArray()];
            foreach (JsonElement[] turn in messages.Chunk(2))
            {
                turn.Select(m => m.GetProperty("role").GetString()).Should().Equal("user", "assistant");
                chats.Add((turn[0].GetProperty("content").GetString()!, turn[1].GetProperty("content").GetString()!));
            }
        }

        return chats;
    }

    [Theory]
    [InlineData("support_chats.jsonl")]
    [InlineData("support_chats_heldout.jsonl")]
    public void TheCommittedFilesAreWhatTheRecipeWrites(string name)
    {
        using var directory = new TemporaryDirectory();
        SupportChats.Write(directory.Path);
        directory.Bytes(name).Should().Equal(File.ReadAllBytes(Path.Combine(s_committed, name)));
    }

    [Fact]
    public void HeldOutQuestionsAreNotTrainedAndTheirAnswersAre()
    {
        using var directory = new TemporaryDirectory();
        List<(string Question, string Answer)> training = Chats(directory, "support_chats.jsonl"), heldOut = Chats(directory, "support_chats_heldout.jsonl");
        training.Should().HaveCount(600);
        heldOut.Should().HaveCountGreaterThanOrEqualTo(60);
        heldOut.Select(c => c.Question).Should().OnlyHaveUniqueItems().And.NotIntersectWith(training.Select(c => c.Question));
        heldOut.Select(c => c.Answer).Should().BeSubsetOf(training.Select(c => c.Answer));
    }

    [Fact]
    public void NoQuestionHasTwoAnswers()
    {
        using var directory = new TemporaryDirectory();
        Chats(directory, "support_chats.jsonl").GroupBy(c => c.Question).Should().OnlyContain(g => g.Select(c => c.Answer).Distinct().Count() == 1);
    }
}
