using FineTuneCore.TinyBase.Bpe;
using FineTuneCore.Tokenization;
using FineTuneCore.Tokenization.Engine;
using FineTuneCore.Tokenization.PreTokenizers;
using FineTuneCore.Tokenization.Regexes;

namespace FineTuneCore.TinyBase;

/// <summary>The tokenizer of the tiny base model: byte-level BPE, digits one by one, and its chat template.</summary>
internal static class TinyTokenizer
{
    private const string Digit = @"\p{N}";

    /// <summary>Trains on texts and writes tokenizer.json and tokenizer_config.json.</summary>
    internal static void TrainAndWrite(string directory, IEnumerable<string> texts, int vocabSize)
    {
        List<(string Left, string Right)> merges = BpeTrainer.Train(Words(texts), vocabSize - ChatMlTokenizer.Vocabulary([]).Length);
        ChatMlTokenizer.Write(directory, merges, TinyModel.Shape.ContextLength);
    }

    private static Dictionary<string, long> Words(IEnumerable<string> texts)
    {
        var digits = new SplitPreTokenizer(TextPattern.Regex(Digit), SplitBehavior.Isolated);
        var bytes = new ByteLevelPreTokenizer(addPrefixSpace: false, useRegex: true);
        var words = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (string part in texts.SelectMany(t => t.Split([.. ChatMlTokenizer.SpecialTokens], StringSplitOptions.RemoveEmptyEntries)))
        {
            foreach (Piece piece in bytes.Apply(digits.Apply([new Piece(new AlignedText(part), 0, part.Length)])))
            {
                string word = piece.Span.ToString();
                words[word] = words.GetValueOrDefault(word) + 1;
            }
        }

        return words;
    }
}
