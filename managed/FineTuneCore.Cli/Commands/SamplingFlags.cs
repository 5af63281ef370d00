using System.CommandLine;
using FineTuneCore.Generation;

namespace FineTuneCore.Cli.Commands;

/// <summary>The flags of a sampler.</summary>
internal sealed class SamplingFlags
{
    private readonly Option<int> _maxTokens = new("--max-tokens") { Description = "Most tokens to make [256].", HelpName = "N", DefaultValueFactory = _ => 256 };
    private readonly Option<double> _temperature;
    private readonly Option<int> _topK = new("--top-k") { Description = "Only the K most probable tokens [0 = all].", HelpName = "K" };
    private readonly Option<double> _topP = new("--top-p") { Description = "Only the most probable tokens that reach P together [1].", HelpName = "P", DefaultValueFactory = _ => 1 };
    private readonly Option<double> _penalty = new("--repetition-penalty") { Description = "Divides the logits of tokens already seen [1].", HelpName = "X", DefaultValueFactory = _ => 1 };
    private readonly Option<int> _seed = new("--seed") { Description = "Seed of the sampler [0].", HelpName = "N" };
    private readonly Option<string[]> _stop = new("--stop") { Description = "Text that ends the answer; may be given several times.", HelpName = "TEXT" };

    internal SamplingFlags(double temperature) => _temperature = new("--temperature")
    {
        Description = $"0 = greedy; higher is more varied [{temperature.ToString(System.Globalization.CultureInfo.InvariantCulture)}].", HelpName = "T", DefaultValueFactory = _ => temperature,
    };

    internal void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_maxTokens, _temperature, _topK, _topP, _penalty, _seed, _stop]) command.Options.Add(option);
    }

    internal SamplingOptions Read(ParseResult result) => new()
    {
        MaxTokens = result.GetValue(_maxTokens),
        Temperature = result.GetValue(_temperature),
        TopK = result.GetValue(_topK),
        TopP = result.GetValue(_topP),
        RepetitionPenalty = result.GetValue(_penalty),
        Seed = result.GetValue(_seed),
        Stop = result.GetValue(_stop) ?? [],
    };
}
