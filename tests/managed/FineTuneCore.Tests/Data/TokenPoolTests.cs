using FineTuneCore.Data;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Data;

public sealed class TokenPoolTests
{
    // Some stay in memory, some reach the file at once, some only when its buffer of a megabyte is full.
    [Theory]
    [InlineData(1L << 20, 10, false)]
    [InlineData(100, 50, true)]
    [InlineData(1 << 10, 3000, true)]
    public void GivesBackWhatWasAdded(long mostInMemory, int samples, bool inFile)
    {
        var pool = new TokenPool(mostInMemory);
        for (int s = 0; s < samples; s++) pool.Add(Ids(s), Mask(s));
        pool.Count.Should().Be(samples);
        pool.IsInFile.Should().Be(inFile);
        foreach (int s in Enumerable.Range(0, samples).Reverse().Concat([0, samples - 1, samples / 2, 0]))
        {
            pool.LengthOf(s).Should().Be(Ids(s).Length);
            pool.IdsOf(s).SequenceEqual(Ids(s)).Should().BeTrue($"ids of sample {s}");
            pool.MaskOf(s).SequenceEqual(Mask(s)).Should().BeTrue($"mask of sample {s}");
        }
    }

    [Fact]
    public void AFileLeavesNoNameBehind()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "on Windows the file has its name until it is closed");
        string[] before = Directory.GetFiles(Path.GetTempPath(), "ftc-tokens-*");
        var pool = new TokenPool(16);
        for (int s = 0; s < 5; s++) pool.Add(Ids(s), Mask(s));
        pool.IsInFile.Should().BeTrue();
        Directory.GetFiles(Path.GetTempPath(), "ftc-tokens-*").Should().BeSubsetOf(before);
    }

    private static int[] Ids(int sample) => [.. Enumerable.Range(0, sample % 301).Select(i => sample * 1000 + i)];

    private static byte[] Mask(int sample) => [.. Enumerable.Range(0, sample % 301).Select(i => (byte)((i + sample) % 3 == 0 ? 1 : 0))];
}
