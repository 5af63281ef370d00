namespace FineTuneCore.Tokenization.Models;

/// <summary>Which two adjacent tokens join, into which, and how early: the smaller rank goes first.</summary>
internal sealed class MergeTable(int capacity)
{
    private readonly Dictionary<ulong, (int Rank, int Id)> _merges = new(capacity);

    public void Add(int left, int right, int rank, int id) => _merges.TryAdd(Key(left, right), (rank, id));

    public bool TryGet(int left, int right, out (int Rank, int Id) merge) => _merges.TryGetValue(Key(left, right), out merge);

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;
}
