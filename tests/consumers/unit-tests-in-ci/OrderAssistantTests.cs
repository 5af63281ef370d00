using System.Diagnostics;
using FineTuneCore;
using FineTuneCore.Models;
using FineTuneCore.Training;
using Xunit;

namespace Orders.Tests;

public sealed class OrderAssistantTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("orders").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task ItLearnsTheShopsAnswers()
    {
        using var process = Process.GetCurrentProcess();
        (Stopwatch clock, TimeSpan before) = (Stopwatch.StartNew(), process.TotalProcessorTime);
        string model = Path.Combine(_directory, "base"), chats = Path.Combine(_directory, "chats.jsonl"), run = Path.Combine(_directory, "run");
        RandomModel.Write(model, new RandomModelShape { ContextLength = 128 }); // a real base model takes too long for a unit test
        (string Question, string Answer)[] pairs = [("Where is my order?", "On its way."), ("Can I return it?", "Yes, for 30 days."), ("Do you ship abroad?", "Not yet.")];
        File.WriteAllLines(chats, Enumerable.Range(0, 60).Select(i => pairs[i % 3]).Select(p =>
            $$"""{"messages": [{"role": "user", "content": "{{p.Question}}"}, {"role": "assistant", "content": "{{p.Answer}}"}]}"""));

        FineTuneResult result = await OrderAssistant.LearnAsync(model, chats, run, learningRate: 5e-3, steps: 60);

        Assert.True(result.FinalValidationLoss < 0.5 * result.InitialValidationLoss, $"validation loss {result.InitialValidationLoss} -> {result.FinalValidationLoss}");
        using OrderAssistant assistant = OrderAssistant.Open(run);
        string answer = assistant.Answer("Where is my order?");
        process.Refresh();
        double seconds = (process.TotalProcessorTime - before).TotalSeconds; // of all threads: what else the machine does is not counted
        Console.WriteLine(
            $"validation loss {result.InitialValidationLoss:F3} -> {result.FinalValidationLoss:F3}, answer '{answer}', {clock.Elapsed.TotalSeconds:F1} s, {seconds:F1} s of processor");
        Assert.Equal("On its way.", answer);
        Assert.True(seconds < 10, $"{seconds} s of processor");
    }

    [Fact]
    public async Task AWrongPathIsReported()
    {
        RandomModel.Write(Path.Combine(_directory, "base"));
        var error = await Assert.ThrowsAnyAsync<FineTuneException>(() =>
            OrderAssistant.LearnAsync(Path.Combine(_directory, "base"), Path.Combine(_directory, "none.jsonl"), Path.Combine(_directory, "run"), 1e-3, 1));
        Assert.Contains("none.jsonl", error.Message);
    }
}
