namespace FineTuneCore.Data;

/// <summary>Puts samples into rows of a given capacity.</summary>
internal static class Packing
{
    /// <summary>
    /// Best-fit decreasing: samples by length, the longest first, each into the fullest row that still has room. Within a row, and of rows,
    /// the order is that of sample numbers, so the result depends on the lengths alone. O(n log capacity).
    /// </summary>
    /// <param name="samples">Sample numbers.</param>
    /// <param name="lengthOf">Tokens of a sample.</param>
    /// <param name="capacity">Tokens of a row.</param>
    /// <exception cref="ArgumentException">A sample is longer than the capacity.</exception>
    public static int[][] BestFitDecreasing(IReadOnlyList<int> samples, Func<int, int> lengthOf, int capacity)
    {
        ArgumentNullException.ThrowIfNull(samples);
        ArgumentNullException.ThrowIfNull(lengthOf);
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        var rows = new List<List<int>>();
        // Rows by free space, and a tree that finds the smallest free space of at least a length.
        var withFree = new Stack<int>[capacity + 1];
        var tree = new FreeSpaceTree(capacity);
        foreach (int sample in samples.OrderByDescending(lengthOf).ThenBy(sample => sample))
        {
            int length = lengthOf(sample);
            if (length > capacity)
                throw new ArgumentException($"sample {sample} has {length} tokens, the capacity of a row is {capacity}", nameof(samples));
            int free = tree.SmallestFrom(length);
            int row;
            if (free < 0)
            {
                row = rows.Count;
                rows.Add([]);
                free = capacity;
            }
            else
            {
                row = withFree[free].Pop();
                tree.Add(free, -1);
            }
            rows[row].Add(sample);
            (withFree[free - length] ??= new Stack<int>()).Push(row);
            tree.Add(free - length, 1);
        }
        foreach (List<int> row in rows)
            row.Sort();
        return [.. rows.Select(row => row.ToArray()).OrderBy(row => row[0])];
    }

    /// <summary>Each sample in a row of its own.</summary>
    public static int[][] Unpacked(IReadOnlyList<int> samples) => [.. samples.Select(sample => new[] { sample })];

    /// <summary>Tokens per place of the rows, 0 to 1: what packing is for.</summary>
    public static double Efficiency(IReadOnlyList<int[]> rows, Func<int, int> lengthOf, int capacity) =>
        rows.Count == 0 ? 1 : rows.Sum(row => row.Sum(sample => (long)lengthOf(sample))) / ((double)rows.Count * capacity);

    /// <summary>Cumulative sequence lengths of a row: 0, the end of its first sample, … the end of the last.</summary>
    public static int[] CumulativeLengths(IReadOnlyList<int> row, Func<int, int> lengthOf)
    {
        var result = new int[row.Count + 1];
        for (int i = 0; i < row.Count; i++)
            result[i + 1] = result[i] + lengthOf(row[i]);
        return result;
    }

    // A segment tree of how many rows have each amount of free space.
    private sealed class FreeSpaceTree
    {
        private readonly int _leaves;
        private readonly int[] _counts;

        public FreeSpaceTree(int capacity)
        {
            _leaves = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)capacity + 1);
            _counts = new int[2 * _leaves];
        }

        public void Add(int free, int change)
        {
            for (int node = _leaves + free; node > 0; node /= 2)
                _counts[node] += change;
        }

        /// <summary>The smallest free space of at least <paramref name="length"/> that a row has, or -1.</summary>
        public int SmallestFrom(int length)
        {
            int node = _leaves + length;
            if (_counts[node] > 0)
                return length;
            // Up to the first right neighbour with rows, then down its left edge.
            while (node > 1 && (node % 2 == 1 || _counts[node + 1] == 0))
                node /= 2;
            if (node <= 1)
                return -1;
            for (node++; node < _leaves;)
                node = _counts[2 * node] > 0 ? 2 * node : 2 * node + 1;
            return node - _leaves;
        }
    }
}
