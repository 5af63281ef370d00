namespace FineTuneCore.Tokenization.Models;

/// <summary>A piece as a linked list of symbols that are merged in order of rank, leftmost first within a rank.</summary>
internal sealed class BpeWord
{
    private readonly List<Symbol> _symbols = [];
    private readonly PriorityQueue<(int Left, int Right, int Id), ulong> _queue = new();

    private struct Symbol
    {
        public int Id;
        public int Start;
        public int Length;
        public int Previous;
        public int Next;
        public bool Merged;
    }

    public void Clear()
    {
        _symbols.Clear();
        _queue.Clear();
    }

    public void Add(int id, int start, int length)
    {
        int index = _symbols.Count;
        _symbols.Add(new Symbol { Id = id, Start = start, Length = length, Previous = index - 1, Next = index + 1 });
    }

    /// <summary>Merges until nothing in <paramref name="merges"/> applies.</summary>
    public void Merge(MergeTable merges)
    {
        Span<Symbol> symbols = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_symbols);
        for (int i = 0; i + 1 < symbols.Length; i++)
            Enqueue(symbols, merges, i, i + 1);

        while (_queue.TryDequeue(out (int Left, int Right, int Id) candidate, out _))
        {
            ref Symbol left = ref symbols[candidate.Left];
            // A stale entry: one of the two has changed since, or is gone.
            if (left.Merged || left.Next != candidate.Right || symbols[candidate.Right].Merged
                || !merges.TryGet(left.Id, symbols[candidate.Right].Id, out (int Rank, int Id) merge) || merge.Id != candidate.Id)
                continue;
            ref Symbol right = ref symbols[candidate.Right];
            left.Id = merge.Id;
            // The bytes of one character share its start; the length must not count the character twice.
            left.Length = Math.Max(left.Start + left.Length, right.Start + right.Length) - left.Start;
            left.Next = right.Next;
            right.Merged = true;
            if (left.Next < symbols.Length)
            {
                symbols[left.Next].Previous = candidate.Left;
                Enqueue(symbols, merges, candidate.Left, left.Next);
            }
            if (left.Previous >= 0)
                Enqueue(symbols, merges, left.Previous, candidate.Left);
        }
    }

    /// <summary>What is left after merging, in order.</summary>
    public (int[] Ids, int[] Starts, int[] Lengths) ToTokens()
    {
        var ids = new List<int>();
        var starts = new List<int>();
        var lengths = new List<int>();
        foreach (Symbol symbol in _symbols)
        {
            if (symbol.Merged)
                continue;
            ids.Add(symbol.Id);
            starts.Add(symbol.Start);
            lengths.Add(symbol.Length);
        }
        return ([.. ids], [.. starts], [.. lengths]);
    }

    private void Enqueue(Span<Symbol> symbols, MergeTable merges, int left, int right)
    {
        if (merges.TryGet(symbols[left].Id, symbols[right].Id, out (int Rank, int Id) merge))
            _queue.Enqueue((left, right, merge.Id), ((ulong)(uint)merge.Rank << 32) | (uint)left);
    }
}
