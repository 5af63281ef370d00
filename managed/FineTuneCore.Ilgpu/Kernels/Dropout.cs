using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>Dropout by counter: Philox4x32-10 (Salmon et al. 2011), the bits that <c>ftc.h</c> promises.</summary>
internal struct Dropout
{
    public ArrayView<int> Samples;
    public ArrayView<int> Positions;
    public ArrayView<int> StepValue; // the step stands there, when HasStepValue
    public int HasStepValue;
    public uint KeyLow;
    public uint KeyHigh;
    public uint Step;
    public uint Threshold; // of 65536; 0: nothing drops
    public float Keep; // 1 - Threshold / 65536

    /// <summary>Whether feature of row is kept.</summary>
    public readonly bool Keeps(int row, int feature) => Threshold == 0 || ((Eight(row, feature) >> (feature & 7)) & 1) != 0;

    /// <summary>Which of four features from this one on, a multiple of 4, are kept: a bit each, the lowest first.</summary>
    public readonly int KeptOfFour(int row, int feature) => Threshold == 0 ? 15 : (Eight(row, feature) >> (feature & 4)) & 15;

    /// <summary>Which of the eight features that share a counter with this one are kept.</summary>
    private readonly int Eight(int row, int feature)
    {
        uint step = HasStepValue != 0 ? (uint)StepValue[0] : Step;
        uint c0 = (uint)feature >> 3, c1 = (uint)Positions[row], c2 = (uint)Samples[row], c3 = step;
        uint k0 = KeyLow, k1 = KeyHigh;
        for (int round = 0; round < 10; round++)
        {
            ulong first = (ulong)c0 * 0xD2511F53u, second = (ulong)c2 * 0xCD9E8D57u;
            c0 = (uint)(second >> 32) ^ c1 ^ k0;
            c1 = (uint)second;
            c2 = (uint)(first >> 32) ^ c3 ^ k1;
            c3 = (uint)first;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }

        return Pair(c0) | (Pair(c1) << 2) | (Pair(c2) << 4) | (Pair(c3) << 6);
    }

    /// <summary>Which of the two numbers of a word keep.</summary>
    private readonly int Pair(uint word) => ((word & 0xffffu) >= Threshold ? 1 : 0) | (word >> 16 >= Threshold ? 2 : 0);
}
