namespace FineTuneCore;

/// <summary>A small generator whose numbers are the same on every platform and version. Steele, Lea &amp; Flood 2014.</summary>
internal struct SplitMix64(ulong seed)
{
    private ulong _state = seed;

    internal ulong Next()
    {
        ulong z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>53 random bits, in [0, 1).</summary>
    internal double NextUnit() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>A number in [0, bound), without modulo bias.</summary>
    internal int NextBelow(int bound) => (int)Math.BigMul(Next(), (ulong)bound, out _);
}
