using System.Diagnostics;
using FineTuneCore.Benchmarks.Comparison;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Benchmarks.Tests;

public sealed class MeasuringTests
{
    [Theory]
    [InlineData(new[] { 3.0, 1.0, 2.0 }, 2.0)]
    [InlineData(new[] { 4.0, 1.0, 2.0, 3.0 }, 2.5)]
    [InlineData(new double[0], double.NaN)]
    public void TheMedianIsTheMiddle(double[] values, double expected) => Statistics.Median(values).Should().Be(expected);

    [Theory]
    [InlineData(new[] { 3.0, 1.0, 2.0, 9.0 }, 1.0)]
    [InlineData(new[] { 5.0, 4.0, 3.0, 1.0, 2.0 }, 2.0)]
    [InlineData(new[] { 7.0 }, 7.0)]
    [InlineData(new double[0], double.NaN)]
    public void AQuarterIsBelowTheLowerQuartile(double[] values, double expected) => Statistics.LowerQuartile(values).Should().Be(expected);

    [Fact]
    public void OwnWorkIsNotTheOthers()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "reads /proc");
        var meter = new LoadMeter();
        Spin(TimeSpan.FromSeconds(0.3));
        LoadMeter.Interval interval = meter.Look();
        interval.OwnSeconds.Should().BeGreaterThan(0.05);
        (interval.OtherCores + interval.OwnSeconds / interval.Seconds).Should().BeLessThanOrEqualTo(Environment.ProcessorCount + 0.2, "no more than the machine has");
    }

    [Fact]
    public void ChildrenCountWhenTheyHaveEnded()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "reads /proc");
        double before = ProcessorTimes.OfEndedChildren();
        using Process child = Process.Start(new ProcessStartInfo("sh", ["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]))!;
        child.WaitForExit();
        (ProcessorTimes.OfEndedChildren() - before).Should().BeInRange(0.02, 60);
    }

    [Fact]
    public void ANeighbourIsKnownByItsNumber()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "reads /proc");
        Spin(TimeSpan.FromSeconds(0.1));
        ProcessorTimes.OfProcess(Environment.ProcessId).Should().BeApproximately(Clock.Process, 0.1);
    }

    [Fact]
    public void EqualLossesAgree() => LossCheck.Against("row", [9.1, 8.9], [9.1005, 8.9], LossCheck.Fp32Tolerance);

    [Theory]
    [InlineData(8.92, "row: no result, the loss of step 1 is 8.9200, expected 8.9000 within 0.001")]
    [InlineData(double.NaN, "row: no result, the loss of step 1 is NaN, expected 8.9000 within 0.001")]
    public void OtherLossesAreNoResult(double loss, string message)
    {
        Action check = () => LossCheck.Against("row", [9.1, loss], [9.1, 8.9], LossCheck.Fp32Tolerance);
        check.Should().Throw<NoResultException>().WithMessage(message);
    }

    [Fact]
    public void MissingStepsAreNoResult()
    {
        Action check = () => LossCheck.Against("row", [9.1], [9.1, 8.9], LossCheck.Fp32Tolerance);
        check.Should().Throw<NoResultException>().WithMessage("row: no result, 1 steps against 2");
    }

    [Theory]
    [InlineData("--threads 2", "unknown option --threads, expected --rows")]
    [InlineData("--rows --rows", "--rows was given twice")]
    [InlineData("step", "'step' belongs to no option")]
    public void OptionsThatNobodyAskedForAreRefused(string line, string message)
    {
        Action parse = () =>
        {
            var arguments = new Arguments(line.Split(' '));
            arguments.Text("rows", "step");
            arguments.RefuseOthers();
        };
        parse.Should().Throw<ArgumentException>().WithMessage(message);
    }

    [Fact]
    public void ARateIsTheTimeOfOneCall() =>
        RateTimer.Milliseconds(2, 0.03, () => Thread.Sleep(2)).Should().BeInRange(2, 100);

    [Fact]
    public void PiecesThatSomebodySlowedDoNotCount()
    {
        int calls = 0;
        double milliseconds = RateTimer.Milliseconds(2, 0.06, () => Spin(TimeSpan.FromMilliseconds(calls++ % 2 == 0 ? 1 : 6)));
        milliseconds.Should().BeInRange(1, 3, "half of the calls took 6 ms, the others 1");
    }

    [Fact]
    public void ShortCallsAreTimedInPieces()
    {
        int calls = 0;
        RateTimer.Milliseconds(2, 0.03, () => calls++).Should().BeLessThan(0.01);
        calls.Should().BeGreaterThan(10_000);
    }

    [Fact]
    public void CallsHeldAgainstOneAnotherTakeTurns()
    {
        var turns = new List<char>();
        void Turn(char who)
        {
            if (turns.Count == 0 || turns[^1] != who) turns.Add(who);
        }

        RateTimer.Milliseconds(2, 0.003, [() => Turn('a'), () => Turn('b')], () => Turn('p'));
        string.Concat(turns).Should().Be("pabpabpab");
    }

    private static void Spin(TimeSpan time)
    {
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start) < time)
        {
        }
    }
}
