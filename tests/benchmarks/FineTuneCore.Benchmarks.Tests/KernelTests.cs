using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using FineTuneCore.Benchmarks.Comparison;
using FineTuneCore.Benchmarks.Comparison.Kernels;
using FineTuneCore.Benchmarks.Kernels;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Benchmarks.Tests;

public sealed class KernelTests
{
    private const string Lora = "LoraLinear.Forward 1024x576x1536", Norm = "RmsNorm.Forward 1x896", Gone = "RmsNorm.Forward 7x7";
    private static readonly string[] Cases = [Lora, Norm];

    [Theory]
    [InlineData("lora*", "LoraLinear", "Forward", true)]
    [InlineData("LORA*", "LoraLinear", "Forward", true)]
    [InlineData("lora*", "Nf4LoraLinear", "Forward", false)]
    [InlineData("*lora*", "Nf4LoraLinear", "Forward", true)]
    [InlineData("loralinear", "LoraLinear", "Backward", true)]
    [InlineData("lora", "LoraLinear", "Forward", false)]
    [InlineData("*.forward", "LoraLinear", "Backward", false)]
    [InlineData("LoraLinear.b?ckward", "LoraLinear", "Backward", true)]
    [InlineData("Lora.inear", "LoraLinear", "Backward", false)]
    public void AFilterIsAPatternOverOpOrMethod(string pattern, string op, string method, bool expected) =>
        new KernelFilter([pattern]).Takes(op, method).Should().Be(expected);

    [Fact]
    public void AnyOfSeveralFiltersTakesAndNoneTakesAll()
    {
        new KernelFilter(["nf4*", "lora*"]).Takes("LoraLinear", "Forward").Should().BeTrue();
        new KernelFilter([]).Takes("LoraLinear", "Forward").Should().BeTrue();
    }

    [Fact]
    public void AnOptionTakesSeveralValuesWhereTheyAreWanted()
    {
        var arguments = new Arguments(["--filter", "lora*", "nf4*", "--check"]);
        arguments.All("filter").Should().Equal("lora*", "nf4*");
        arguments.Has("check").Should().BeTrue();
        Action one = () => arguments.Text("filter", "");
        one.Should().Throw<ArgumentException>().WithMessage("'nf4*' belongs to no option");
    }

    [Fact]
    public void ACaseIsAnOpWithItsSizes()
    {
        KernelCase only = KernelCase.Parse("# rows, columns\n\n RmsNorm   1 896\n").Single();
        only.Key("Forward").Should().Be(Norm);
        only.Should().Be(new KernelCase("RmsNorm", [1, 896])).And.NotBe(new KernelCase("RmsNorm", [2, 896]));
    }

    [Theory]
    [InlineData("RmsNorm", "kernels.txt: 'RmsNorm' has no sizes")]
    [InlineData("RmsNorm 1 x", "kernels.txt: 'RmsNorm 1 x' has the size 'x', expected a number from 1")]
    [InlineData("RmsNorm 0", "kernels.txt: 'RmsNorm 0' has the size '0', expected a number from 1")]
    public void AnythingElseIsRefused(string text, string message)
    {
        Action parse = () => KernelCase.Parse(text);
        parse.Should().Throw<FormatException>().WithMessage(message);
    }

    [Fact]
    public void NoCaseIsListedTwice() => KernelCase.All.Should().OnlyHaveUniqueItems().And.HaveCountGreaterThan(30);

    [Fact]
    public void ARunReplacesWhatItMeasuredAndLeavesTheRest()
    {
        KernelTable old = new KernelTable { Cpu = "a CPU" }.With(
            [Entry(Norm, "avx2", 300, "old"), Entry(Lora, "avx2", 3e6, "old"), Entry(Gone, "avx2", 1, "old")], [Side("avx2", 100)], [Gone, .. Cases]);
        KernelTable merged = old.With([Entry(Lora, "avx2", 2e6, "new"), Entry(Lora, "portable", 9e6, "new")], [Side("portable", 40)], Cases);
        merged.Entries.Select(e => (e.Case, e.Side, e.MedianNs, e.Commit)).Should().Equal(
            (Lora, "portable", 9e6, "new"), (Lora, "avx2", 2e6, "new"), (Norm, "avx2", 300, "old"));
        merged.Sides.Select(s => s.Side).Should().Equal("portable", "avx2");
    }

    [Fact]
    public void ARowWithoutResultTakesTheOldNumberAway()
    {
        KernelTable table = new KernelTable { Cpu = "a CPU" }.With([Entry(Lora, "avx2", 3e6, "old")], [], Cases);
        KernelEntry loud = Entry(Lora, "avx2", 0, "new") with { MedianNs = null, Rate = null, Reason = "no result, other processes used 0.50 cores" };
        table.With([loud], [], Cases).Entries.Should().Equal(loud);
    }

    [Fact]
    public void ATableIsReadAsItWasWritten()
    {
        string file = Path.GetTempFileName();
        KernelTable table = Table();
        File.WriteAllText(file, table.ToJson());
        KernelTable read = KernelTable.Read(file, "another CPU");
        File.Delete(file);
        read.Should().BeEquivalentTo(table with { Cpu = "another CPU" });
        KernelTable.Read(file, "a CPU").Entries.Should().BeEmpty();
    }

    [Fact]
    public void ThePageHasATableForEachFamilyAndSaysWhyAPlaceIsEmpty()
    {
        string page = KernelPage.Write(Table(), notAResult: false);
        page.Should().Contain("| op, sizes; GFLOP/s | torchsharp | avx2 | opencl |")
            .And.Contain($"| {Lora} | 4.00 ms, 60.0, 50 % | 2.00 ms, 60.0, 50 %, **2.00×** | – |")
            .And.Contain($"–, `opencl`: the device has no adapters ({Lora}).")
            .And.Contain($"| {Norm} | 250 ns, 60.0 | 50.0 µs, 60.0 |")
            .And.Contain("Not here: `cuda`: no NVIDIA driver.").And.NotContain("| cuda |")
            .And.Contain("![Linear layers with adapters, GFLOP/s](lora.svg)").And.NotContain("Not a result");
        KernelPage.Write(Table(), notAResult: true).Should().Contain("**Not a result**");
    }

    [Fact]
    public void ThePlotHasABarForEveryNumber()
    {
        XNamespace svg = "http://www.w3.org/2000/svg";
        XElement plot = XElement.Parse(KernelPage.Plot(Table(), KernelFamily.Lora)!);
        plot.Elements(svg + "rect").Should().HaveCount(1 + 2 + 2, "a background, a colour in the legend and a bar for each of two sides");
        plot.Elements(svg + "text").Select(t => t.Value).Should().Contain([Lora, "torchsharp", "avx2", "60.0"]).And.NotContain("opencl");
        KernelPage.Plot(Table(), KernelFamily.Loss).Should().BeNull("nothing was measured");
        KernelPage.Plot(Table(), KernelFamily.Elementwise).Should().BeNull("its only call fits a cache");
    }

    [Fact]
    public void BarsStayInsideThePlot()
    {
        XNamespace svg = "http://www.w3.org/2000/svg";
        string drawn = KernelPlot.Draw("t", "s", ["a"], [new("one", [new("a", 0.031)]), new("two", [new("a", 117.4)])]);
        double[] widths = [.. XElement.Parse(drawn).Elements(svg + "rect").Skip(2).Select(r => double.Parse(r.Attribute("width")!.Value, System.Globalization.CultureInfo.InvariantCulture))];
        widths.Should().HaveCount(2).And.OnlyContain(w => w >= 0 && w <= 860 - 300 - 70);
        widths[1].Should().BeGreaterThan(380);
    }

    [Fact]
    public void TheCostOfTheBindingIsTheDifference()
    {
        string[] lines = [.. BindingCost.Lines(Table(), Cases)];
        lines[1].Should().Contain(Lora).And.Contain("2.00 ms").And.Contain("1.90 ms").And.Contain("+100 µs").And.Contain("+5.3 %");
        lines[2].Should().Contain(Norm).And.Contain("+50.0 ns");
        lines[3].Should().Be("calls shorter than 20.0 µs: +50.0 ns in the median of 1, at most +50.0 ns");
        lines[4].Should().Be("longer calls: +5.3 % in the median of 1");
        BindingCost.Lines(Table(), Cases, onlyShort: true).Should().Equal(lines.Where((_, i) => i != 1), "a long call has no line, but counts");
        BindingCost.Lines(Table(), [Gone]).Should().BeEmpty();
    }

    [Theory]
    [InlineData(7.04, "7.04 ns")]
    [InlineData(999, "999 ns")]
    [InlineData(12_340, "12.3 µs")]
    [InlineData(2.5e9, "2.50 s")]
    public void TimesHaveThreeDigits(double ns, string expected) => KernelPage.Time(ns).Should().Be(expected);

    [Theory]
    [InlineData("cat; exit 0", null, false)]
    [InlineData("echo 'refused: --device cuda: no NVIDIA driver. Tried: /a/path.'; exit 4", "--device cuda: no NVIDIA driver", false)]
    [InlineData("echo 'skipped: TorchSharp does not load (why)'; exit 3", "TorchSharp does not load (why)", false)]
    [InlineData("exit 9", "the process ended with exit code 9", true)]
    public void AProcessGetsKeysAndItsLinesAreHandedOn(string script, string? problem, bool isBroken)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "starts sh");
        var lines = new List<JsonObject>();
        ProcessStartInfo start = MeasuringProcess.StartInfo("sh", $"-c \"{script}\"", []);
        KernelProcess.Run(start, ["{\"key\":1}", "{\"key\":2}"], (line, _) => lines.Add(line)).Should().Be(new KernelProcessEnd(problem, isBroken));
        lines.Select(l => (int)l["key"]!).Should().Equal(problem is null ? [1, 2] : []);
    }

    private static KernelTable Table() => new KernelTable { Cpu = "a CPU", Command = "a command" }.With(
        [
            Entry(Lora, KernelSide.Baseline, 4e6), Entry(Lora, "avx2", 2e6) with { NativeNs = 1.9e6 }, Empty(Lora, "opencl", "the device has no adapters"), Empty(Lora, "cuda", "no NVIDIA driver"),
            Entry(Norm, "avx2", 250) with { NativeNs = 200, Share = null }, Entry(Norm, "opencl", 5e4) with { Share = null }, Empty(Norm, "cuda", "no NVIDIA driver"),
        ],
        [Side("avx2", 120)], Cases);

    private static KernelEntry Entry(string of, string side, double ns, string commit = "abc") => new()
    {
        Case = of, Family = of == Lora ? KernelFamily.Lora.Name : KernelFamily.Elementwise.Name, Side = side, MedianNs = ns, ErrorNs = ns / 100, Rate = 60, Share = 0.5,
        Commit = commit, Date = "2000-01-01",
    };

    private static KernelEntry Empty(string of, string side, string reason) => Entry(of, side, 0) with { MedianNs = null, ErrorNs = null, Rate = null, Share = null, Reason = reason };

    private static KernelSideInfo Side(string name, double peak) => new(name, "a version", "a device", name, peak, peak, 20, OnCpu: true);
}
