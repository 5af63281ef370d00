using System.Reflection;
using FineTuneCore.Backends;
using FineTuneCore.Native;
using FineTuneCore.Training;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Training;

/// <summary>When the parts of a step are run, recorded and launched, on a device that only notes what it is asked.</summary>
public sealed class StepGraphsTests
{
    private static readonly PartShape Small = new(256, 256), Large = new(512, 256);

    [Fact]
    public void AShapeIsRunThenRecordedThenLaunched()
    {
        (IBackend backend, NotingBackend notes) = NotingBackend.Create();
        using var graphs = new StepGraphs(backend, enabled: true, _ => Assert.Fail("nothing went wrong"));
        void Run(PartShape shape) => graphs.Run(shape, s => notes.Calls.Add($"enqueue {s.Rows}"));
        Run(Small);
        Run(Large);
        Run(Small);
        Run(Small);
        notes.Calls.Should().Equal("enqueue 256", "enqueue 512", "BeginCapture", "enqueue 256", "EndCapture", "Launch", "Launch");
        graphs.Count.Should().Be(1);
    }

    [Fact]
    public void WithoutGraphsEverythingIsRun()
    {
        (IBackend backend, NotingBackend notes) = NotingBackend.Create();
        using var graphs = new StepGraphs(backend, enabled: false, _ => Assert.Fail("nothing went wrong"));
        for (int i = 0; i < 3; i++) graphs.Run(Small, _ => notes.Calls.Add("enqueue"));
        notes.Calls.Should().Equal("enqueue", "enqueue", "enqueue");
    }

    [Theory]
    [InlineData("BeginCapture")]
    [InlineData("EndCapture")]
    [InlineData("enqueue")]
    public void AFailedRecordingIsToldAndTheStepGoesOnWithout(string failing)
    {
        (IBackend backend, NotingBackend notes) = NotingBackend.Create();
        var told = new List<string>();
        using var graphs = new StepGraphs(backend, enabled: true, told.Add);
        notes.Failing = failing;
        for (int i = 0; i < 3; i++)
        {
            graphs.Run(Small, _ =>
            {
                bool recording = notes.Recording;
                notes.Calls.Add("enqueue");
                if (recording && failing == "enqueue") throw new FtcException(FtcStatus.InvalidArgument, "no waiting here");
            });
        }

        told.Should().ContainSingle().Which.Should().StartWith("CUDA graphs are off from here on: ");
        notes.Recording.Should().BeFalse("a recording is always ended");
        notes.Calls.Should().NotContain("Launch");
        notes.Calls.Count(c => c == "enqueue").Should().Be(failing == "BeginCapture" ? 3 : 4, "each step is done, whatever was recorded");
    }

    [Fact]
    public void ADeadDeviceIsNotGoneOnWith()
    {
        (IBackend backend, NotingBackend notes) = NotingBackend.Create();
        using var graphs = new StepGraphs(backend, enabled: true, _ => { });
        graphs.Run(Small, _ => { });
        Action recording = () => graphs.Run(Small, _ => throw new FtcException(FtcStatus.Device, "it died"));
        recording.Should().Throw<FtcException>().WithMessage("*it died*");
        notes.Recording.Should().BeFalse();
    }

    /// <summary>A backend that notes calls and fails one of them.</summary>
    public class NotingBackend : DispatchProxy
    {
        internal List<string> Calls { get; } = [];

        internal string? Failing { get; set; }

        internal bool Recording { get; private set; }

        internal static (IBackend, NotingBackend) Create()
        {
            IBackend backend = Create<IBackend, NotingBackend>();
            return (backend, (NotingBackend)(object)backend);
        }

        protected override object? Invoke(MethodInfo? method, object?[]? arguments)
        {
            Calls.Add(method!.Name);
            if (method.Name == nameof(IBackend.EndCapture)) Recording = false;
            if (method.Name == Failing) throw new FtcException(FtcStatus.Unsupported, $"{method.Name} is not to be had");
            if (method.Name == nameof(IBackend.BeginCapture)) Recording = true;
            return method.Name == nameof(IBackend.EndCapture) ? new NoGraph() : null;
        }
    }

    private sealed class NoGraph : DeviceGraph
    {
        protected override void Dispose(bool disposing)
        {
        }
    }
}
