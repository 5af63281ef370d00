using System.Diagnostics;
using System.Runtime.InteropServices;

namespace FineTuneCore.Backends;

/// <summary>An op, told apart by the shape of its weight where it has one.</summary>
internal readonly record struct ProfileKey(string Op, long InFeatures, long OutFeatures)
{
    public override string ToString() => InFeatures == 0 ? Op : $"{Op} {InFeatures}→{OutFeatures}";
}

/// <summary>Time, arithmetic and bytes of ops, summed by <see cref="ProfileKey"/>.</summary>
internal sealed class OpProfile
{
    private readonly Dictionary<ProfileKey, Entry> _entries = [];

    /// <param name="key">Which op.</param>
    /// <param name="ticks">Of <see cref="Stopwatch"/>.</param>
    /// <param name="operations">Floating-point operations, a multiply-add counted as two; 0 for ops that only move memory.</param>
    /// <param name="bytes">That the op must read and write.</param>
    internal void Add(in ProfileKey key, long ticks, double operations, long bytes)
    {
        ref Entry entry = ref CollectionsMarshal.GetValueRefOrAddDefault(_entries, key, out _);
        entry.Calls++;
        entry.Ticks += ticks;
        entry.Operations += operations;
        entry.Bytes += bytes;
    }

    /// <summary>The slowest first.</summary>
    internal IEnumerable<(string Op, long Calls, double Seconds, double Operations, double Bytes)> Rows =>
        _entries.OrderByDescending(e => e.Value.Ticks)
            .Select(e => (e.Key.ToString(), e.Value.Calls, e.Value.Ticks / (double)Stopwatch.Frequency, e.Value.Operations, e.Value.Bytes));

    private struct Entry
    {
        internal long Calls;
        internal long Ticks;
        internal double Operations;
        internal double Bytes;
    }
}
