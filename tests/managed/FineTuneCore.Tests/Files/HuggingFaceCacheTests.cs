using FineTuneCore.Files;
using FineTuneCore.Tests.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Files;

/// <summary>Models where Hugging Face's own tools put them: models--org--name/snapshots/commit, refs/main naming the commit.</summary>
[Collection("alone")] // sets an environment variable
public sealed class HuggingFaceCacheTests : IDisposable
{
    private readonly RandomCheckpoint _model = new(RandomCheckpoint.Llama());
    private readonly string _cache = Directory.CreateTempSubdirectory("ftc-cache-").FullName;

    [Fact]
    public void TheCommitOfMainIsTakenByPathAndByName()
    {
        string folder = Snapshot("newer"), old = Snapshot("older");
        Directory.SetLastWriteTimeUtc(Path.Combine(folder, "snapshots", "older"), DateTime.UtcNow.AddDays(1));
        Directory.CreateDirectory(Path.Combine(folder, "refs"));
        File.WriteAllText(Path.Combine(folder, "refs", "main"), "newer\n");
        old.Should().Be(folder);
        ModelDirectory.Resolve(folder).Path.Should().EndWith("snapshots/newer");
        ByName("some-org/some-model").Path.Should().EndWith("snapshots/newer");
        ByName("some-org/some-model").WeightFiles().Should().ContainSingle().Which.Should().EndWith("model.safetensors");
    }

    [Fact]
    public void WithoutRefsTheNewestSnapshotIsTaken()
    {
        string folder = Snapshot("first");
        Snapshot("second");
        Directory.SetLastWriteTimeUtc(Path.Combine(folder, "snapshots", "first"), DateTime.UtcNow.AddDays(-1));
        ByName("some-org/some-model").Path.Should().EndWith("snapshots/second");
    }

    [Fact]
    public void AModelThatIsNowhereIsRefusedWithEveryPlaceTried()
    {
        Action resolve = () => ByName("nobody/nothing");
        resolve.Should().Throw<FineTuneException>().WithMessage($"*nobody/nothing*Tried:*{_cache}*models--nobody--nothing*Nothing is downloaded*");
    }

    public void Dispose()
    {
        _model.Dispose();
        Directory.Delete(_cache, recursive: true);
    }

    private string Snapshot(string commit)
    {
        string folder = Path.Combine(_cache, "models--some-org--some-model"), snapshot = Path.Combine(folder, "snapshots", commit);
        Directory.CreateDirectory(snapshot);
        foreach (string file in Directory.EnumerateFiles(_model.Directory)) File.CreateSymbolicLink(Path.Combine(snapshot, Path.GetFileName(file)), file);
        return folder;
    }

    private ModelDirectory ByName(string name)
    {
        string? before = Environment.GetEnvironmentVariable("HF_HUB_CACHE");
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", _cache);
        try
        {
            return ModelDirectory.Resolve(name);
        }
        finally
        {
            Environment.SetEnvironmentVariable("HF_HUB_CACHE", before);
        }
    }
}
