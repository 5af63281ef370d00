using FluentAssertions;
using Xunit;

namespace FineTuneCore.Cli.Tests;

/// <summary>Training data that is broken in one place, as a user meets it.</summary>
public sealed class BadDataTests
{
    [Fact]
    public void ALineThatIsBroken()
    {
        using var bad = new BadInput();
        string[] lines = BadInput.Lines(5000).TrimEnd('\n').Split('\n');
        lines[4710] = "{\"prompt\": \"Tim\", \"completion\": ";
        bad.Data = bad.Write("data.jsonl", string.Join('\n', lines));
        bad.TrainingFails(3, [], "data.jsonl:4711", "JSON");
    }

    [Theory]
    [InlineData("{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": \"\"}]}", "assistant", "empty")]
    [InlineData("{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}", "assistant")]
    [InlineData("{\"messages\": []}", "messages")]
    [InlineData("{\"messages\": [{\"role\": \"wizard\", \"content\": \"Hello\"}]}", "wizard")]
    [InlineData("{\"question\": \"Hello\"}", "messages")]
    [InlineData("[1, 2]", "object")]
    public void RowsThatCannotBeLearned(string row, params string[] says)
    {
        using var bad = new BadInput();
        string good = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Good day.\"}]}";
        bad.Data = bad.Write("data.jsonl", $"{good}\n{row}\n{good}\n");
        bad.TrainingFails(3, ["--chat-template", "chatml"], ["data.jsonl:2", .. says]);
    }

    [Fact]
    public void ASampleLongerThanTheContext()
    {
        using var bad = new BadInput();
        string many = string.Concat(Enumerable.Repeat(" and the dog ran", 300));
        bad.Data = bad.Write("data.jsonl", $"{BadInput.Lines(3)}{{\"prompt\": \"Tim\", \"completion\": \"{many}\"}}\n{BadInput.Lines(3)}");
        bad.TrainingFails(3, ["--sequence-length", "64"], "data.jsonl:4", "64", "--overflow");
        bad.Train("--sequence-length", "64", "--overflow", "truncate").ExitCode.Should().Be(0);
    }

    [Fact]
    public void AFileThatIsMissingOrEmpty()
    {
        using var bad = new BadInput();
        bad.Data = bad.Place("nothing.jsonl");
        bad.TrainingFails(3, [], "nothing.jsonl", "no such file");
        bad.Data = bad.Write("empty.jsonl", "");
        bad.TrainingFails(3, [], "empty.jsonl", "has no rows");
        bad.Data = bad.Write("blank.jsonl", "\n\n  \n");
        bad.TrainingFails(3, [], "blank.jsonl", "has no rows");
        bad.Data = bad.Model;
        bad.TrainingFails(3, [], bad.Model, "director");
        bad.Data = bad.Write("chats.docx", "x");
        bad.TrainingFails(3, [], "chats.docx", ".jsonl");
    }

    [Fact]
    public void ChatsWithoutATemplate()
    {
        using var bad = new BadInput();
        bad.Data = bad.Write("data.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Good day.\"}]}\n");
        FtcProcess.Result result = bad.Train();
        result.ExitCode.Should().BeOneOf(2, 3);
        BadInput.Failed(result, result.ExitCode, "chat template", "--chat-template", "chatml");
        bad.TrainingFails(2, ["--chat-template", "chatmi"], "chatmi", "chatml");
    }

    [Fact]
    public void BytesThatAreNotUtf8()
    {
        using var bad = new BadInput();
        File.WriteAllBytes(bad.Data, [.. System.Text.Encoding.UTF8.GetBytes(BadInput.Lines(2)), .. "{\"prompt\": \"a\", \"completion\": \""u8, 0xFF, 0xFE, .. "\"}\n"u8]);
        bad.TrainingFails(3, [], "data.jsonl:3", "UTF-8");
    }
}
