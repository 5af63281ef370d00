namespace FineTuneCore.TinyBase.Bpe;

/// <summary>Learns byte-pair merges: the most frequent pair of neighbours becomes a token, again and again. Sennrich et al. 2016, arXiv:1508.07909.</summary>
internal static class BpeTrainer
{
    /// <summary>The merges in the order they are learned; pairs as frequent as each other go by spelling, so that the result is one only.</summary>
    /// <param name="words">Words, spelled in the alphabet of the model, and how often each occurs.</param>
    /// <param name="merges">Most merges to learn; fewer where no pair occurs twice.</param>
    internal static List<(string Left, string Right)> Train(IReadOnlyDictionary<string, long> words, int merges)
    {
        List<Word> all = [.. words.OrderBy(w => w.Key, StringComparer.Ordinal).Select(w => new Word([.. w.Key.Select(c => c.ToString())], w.Value))];
        var counts = new Dictionary<(string Left, string Right), long>();
        foreach (Word word in all) Count(word, counts, +1);
        var learned = new List<(string Left, string Right)>();
        while (learned.Count < merges)
        {
            ((string Left, string Right) best, long most) = (default, 1);
            foreach (((string Left, string Right) pair, long count) in counts)
                if (count > most || (count == most && most > 1 && Before(pair, best))) (best, most) = (pair, count);
            if (most < 2) break;
            learned.Add(best);
            foreach (Word word in all.Where(w => Has(w, best)))
            {
                Count(word, counts, -1);
                Merge(word, best);
                Count(word, counts, +1);
            }

            counts.Remove(best);
        }

        return learned;
    }

    private static bool Before((string Left, string Right) a, (string Left, string Right) b)
    {
        int order = string.CompareOrdinal(a.Left, b.Left);
        return order < 0 || (order == 0 && string.CompareOrdinal(a.Right, b.Right) < 0);
    }

    private static void Count(Word word, Dictionary<(string, string), long> counts, int sign)
    {
        for (int i = 0; i + 1 < word.Symbols.Count; i++)
        {
            (string, string) pair = (word.Symbols[i], word.Symbols[i + 1]);
            counts[pair] = counts.GetValueOrDefault(pair) + sign * word.Occurrences;
        }
    }

    private static bool Has(Word word, (string Left, string Right) pair)
    {
        for (int i = 0; i + 1 < word.Symbols.Count; i++)
            if (word.Symbols[i] == pair.Left && word.Symbols[i + 1] == pair.Right) return true;
        return false;
    }

    private static void Merge(Word word, (string Left, string Right) pair)
    {
        for (int i = 0; i + 1 < word.Symbols.Count; i++)
        {
            if (word.Symbols[i] != pair.Left || word.Symbols[i + 1] != pair.Right) continue;
            word.Symbols[i] = pair.Left + pair.Right;
            word.Symbols.RemoveAt(i + 1);
        }
    }

    private sealed record Word(List<string> Symbols, long Occurrences);
}
