namespace FineTuneCore.Data;

/// <summary>Orders that depend on seed and epoch alone, so that a resumed run needs only a position.</summary>
internal static class Shuffle
{
    /// <summary>The numbers 0 … count - 1 in an order of the seed and epoch. Fisher and Yates 1938.</summary>
    public static int[] Order(int count, ulong seed, int epoch = 0)
    {
        int[] order = new int[count];
        Fill(order, seed, epoch);
        return order;
    }

    /// <summary>The same into memory that is at hand.</summary>
    internal static void Fill(Span<int> order, ulong seed, int epoch)
    {
        for (int i = 0; i < order.Length; i++)
            order[i] = i;
        var random = new SplitMix64(seed ^ ((ulong)(epoch + 1) * 0xD1B54A32D192ED03));
        for (int i = order.Length - 1; i > 0; i--)
        {
            int j = random.NextBelow(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
    }
}
