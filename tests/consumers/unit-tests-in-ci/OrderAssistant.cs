using FineTuneCore.Generation;
using FineTuneCore.Training;

namespace Orders;

/// <summary>The application: learns a shop's answers from its past chats, overnight, and then gives them.</summary>
public sealed class OrderAssistant : IDisposable
{
    private readonly LanguageModel _model;

    private OrderAssistant(LanguageModel model) => _model = model;

    public static async Task<FineTuneResult> LearnAsync(string baseModel, string chats, string output, double learningRate, int steps) =>
        await new FineTuner(new FineTuneOptions
        {
            Model = baseModel, Data = chats, Output = output, Method = FineTuneMethod.Full, LearningRate = learningRate, MaxSteps = steps,
            Device = "cpu",
        }).RunAsync();

    public static OrderAssistant Open(string run) => new(LanguageModel.Load(run, device: "cpu"));

    public string Answer(string question) =>
        string.Concat(_model.Chat([new ChatMessage("user", question)], new SamplingOptions { MaxTokens = 24 })).Trim();

    public void Dispose() => _model.Dispose();
}
