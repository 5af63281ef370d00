using System.Globalization;
using System.Text;

namespace FineTuneCore.Data;

/// <summary>What became of a dataset on its way to tokens.</summary>
internal sealed class EncodingReport
{
    private readonly SortedDictionary<ExampleFormat, int> _formats = [];

    /// <summary>Rows of each format.</summary>
    public IReadOnlyDictionary<ExampleFormat, int> Formats => _formats;

    /// <summary>Samples that can be trained on.</summary>
    public int Samples { get; private set; }

    /// <summary>Tokens of these samples.</summary>
    public long Tokens { get; private set; }

    /// <summary>Those of them that are trained.</summary>
    public long TrainedTokens { get; private set; }

    /// <summary>Tokens of the longest sample.</summary>
    public int LongestSample { get; private set; }

    /// <summary>Samples that lost their end, because they were longer than the context.</summary>
    public int Truncated { get; internal set; }

    /// <summary>Samples left out, because they (or their trained part) lie beyond the context.</summary>
    public int Dropped { get; internal set; }

    /// <summary>Turns of role developer that were rendered as system, because the template knows no developer.</summary>
    public int DeveloperAsSystem { get; internal set; }

    /// <summary>One line for people.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Samples} samples ({string.Join(", ", _formats.Select(pair => $"{pair.Value} {Name(pair.Key)}"))}), ");
        text.Append(CultureInfo.InvariantCulture, $"{Tokens} tokens, {TrainedTokens} of them trained, longest {LongestSample}");
        if (Truncated > 0)
            text.Append(CultureInfo.InvariantCulture, $"; {Truncated} truncated");
        if (Dropped > 0)
            text.Append(CultureInfo.InvariantCulture, $"; {Dropped} dropped");
        if (DeveloperAsSystem > 0)
            text.Append(CultureInfo.InvariantCulture, $"; {DeveloperAsSystem} developer turns rendered as system");
        return text.ToString();
    }

    internal void Count(ExampleFormat format) => _formats[format] = _formats.GetValueOrDefault(format) + 1;

    internal void Count(TokenizedExample sample)
    {
        Samples++;
        Tokens += sample.Ids.Length;
        TrainedTokens += sample.TrainedTokens;
        LongestSample = Math.Max(LongestSample, sample.Ids.Length);
    }

    private static string Name(ExampleFormat format) => format switch
    {
        ExampleFormat.Messages => "chat messages",
        ExampleFormat.PromptCompletion => "prompt/completion",
        ExampleFormat.Text => "text rows",
        ExampleFormat.Alpaca => "Alpaca",
        ExampleFormat.ShareGpt => "ShareGPT",
        _ => "plain text",
    };
}
