namespace FineTuneCore.Benchmarks;

/// <summary>An NF4 matrix of no special content; both sides multiply with the same one.</summary>
internal static class Nf4Numbers
{
    internal const int BlockSize = 64;

    /// <summary>4-bit NormalFloat. Dettmers et al. 2023, arXiv:2305.14314.</summary>
    internal static ReadOnlySpan<float> Map =>
    [
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
        0.7229568362236023f, 1.0f,
    ];

    /// <summary>Two codes a byte.</summary>
    internal static byte[] Codes(int bytes) => [.. LoraStep.Uniform(4, bytes, 128).Select(v => (byte)Math.Clamp(v + 128, 0, 255))];

    /// <summary>One for each block, around 0.05.</summary>
    internal static float[] Absmax(int blocks) => [.. LoraStep.Uniform(5, blocks, 0.02f).Select(v => v + 0.05f)];
}
