namespace FineTuneCore.Models;

/// <summary>
/// The values that codes of 8 bits stand for: bitsandbytes' dynamic maps, in which a code spends as many bits on the exponent as it
/// takes. Dettmers 2016, arXiv:1511.04561.
/// </summary>
internal static class DynamicMaps
{
    private const int Decades = 7; // the largest values lie in [0.1, 1], the smallest a factor of 10^6 below

    /// <summary>256 ascending values from about -1 to 1, for what has a sign.</summary>
    internal static float[] Signed() => Create(signed: true);

    /// <summary>256 ascending values from 0 to 1.</summary>
    internal static float[] Unsigned() => Create(signed: false);

    /// <summary>Decade i has 2^i values of each sign, or 2^(i + 1) without: the middles of equal parts of [0.1, 1] · 10^(i - 6). 0 and 1 besides.</summary>
    private static float[] Create(bool signed)
    {
        var values = new List<float> { 0, 1 };
        for (int i = 0; i < Decades; i++)
        {
            int count = 1 << (signed ? i : i + 1);
            double power = Math.Pow(10, i - (Decades - 1));
            for (int k = 0; k < count; k++)
            {
                float value = (float)(power * (0.1 + 0.9 * (k + 0.5) / count));
                values.Add(value);
                if (signed) values.Add(-value);
            }
        }

        values.Sort();
        return [.. values];
    }
}
