using System.Text.Json.Nodes;
using FineTuneCore.Benchmarks.Comparison;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Benchmarks.Tests;

public sealed class StrictPairsTests
{
    private readonly List<string> _ran = [];
    private readonly List<string> _told = [];

    [Fact]
    public void SidesAlternate()
    {
        Pairs pairs = Run(2, [Run("peer", 200, 0), Run("peer", 220, 0)], [Run("ours", 100, 0), Run("ours", 100, 0)]);
        _ran.Should().Equal("peer", "ours", "peer", "ours");
        pairs.Dropped.Should().Be(0);
    }

    [Fact]
    public void RatiosAreThoseOfOnePair()
    {
        // The machine ran at half its speed during the second pair: its ratio is the first one's.
        Pairs pairs = Run(3, [Run("peer", 200, 0), Run("peer", 400, 0), Run("peer", 210, 0)], [Run("ours", 100, 0), Run("ours", 200, 0), Run("ours", 100, 0)]);
        pairs.Ratios(0, 1, m => m.MedianMilliseconds).Should().Equal(2.0, 2.0, 2.1);
        pairs.Median(1, m => m.MedianMilliseconds).Should().Be(100);
    }

    [Theory]
    [InlineData(0.1, 0)]
    [InlineData(0.11, 1)]
    public void APairWithCompanyIsDroppedAndRunAgain(double others, int dropped)
    {
        Pairs pairs = Run(1, [Run("peer", 200, 0), Run("peer", 200, 0)], [Run("ours", 150, others), Run("ours", 100, 0)]);
        pairs.Dropped.Should().Be(dropped);
        pairs.Quiet.Should().ContainSingle().Which[1].MedianMilliseconds.Should().Be(dropped == 0 ? 150 : 100);
    }

    [Fact]
    public void TheRestOfALoudRoundIsNotRun()
    {
        Run(1, [Run("peer", 200, 0.5), Run("peer", 200, 0)], [Run("ours", 100, 0)]);
        _ran.Should().Equal("peer", "peer", "ours");
        _told[0].Should().Be("row: dropped, other processes used 0.50 cores");
    }

    [Fact]
    public void TooFewQuietPairsAreNoResult()
    {
        Action run = () => Run(2, Enumerable.Repeat(Run("peer", 200, 0.3), 6), [Run("ours", 100, 0)]);
        run.Should().Throw<NoResultException>().WithMessage("row: no result, 0 of 2 pairs were quiet and 6 were dropped because other processes were busy");
        _ran.Should().HaveCount(6, "three attempts for each wanted pair");
    }

    [Fact]
    public void UnderAllowedLoadEveryPairCounts()
    {
        var pairs = new StrictPairs(1, allowLoad: true, _told.Add).Run("row", () => Run("peer", 200, 1.5), () => Run("ours", 100, 1.5));
        pairs.Dropped.Should().Be(0);
        pairs.Quiet.Should().ContainSingle();
    }

    [Fact]
    public void ThePeakIsTheHighestOfASide()
    {
        Pairs pairs = Run(2, [Run("peer", 200, 0), Run("peer", 200, 0)], [Run("ours", 100, 0, peak: 90), Run("ours", 100, 0, peak: 118)]);
        pairs.Peak(1).Should().Be(118);
    }

    private Pairs Run(int wanted, params IEnumerable<Measurement>[] sides)
    {
        IEnumerator<Measurement>[] next = [.. sides.Select(s => s.GetEnumerator())];
        return new StrictPairs(wanted, allowLoad: false, _told.Add).Run("row", [.. next.Select(e => (Func<Measurement>)(() =>
        {
            e.MoveNext().Should().BeTrue("no more runs are expected");
            _ran.Add((string)e.Current.Start["side"]!);
            return e.Current;
        }))]);
    }

    private static Measurement Run(string side, double milliseconds, double others, double peak = 100) => new()
    {
        Start = new JsonObject { ["side"] = side, ["peak_gflops"] = peak }, Lines = [],
        End = new JsonObject { ["median_ms"] = milliseconds, ["other_cores"] = others },
    };
}
