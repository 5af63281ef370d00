using System.Text.Json;
using FineTuneCore.Training;
using Xunit;

namespace FineTuneCore.Tests.Training;

/// <summary>A profiled run computes what an unprofiled one does, and its profile adds up.</summary>
public sealed class ProfileTests
{
    [Fact]
    public void AProfiledRunHasTheSameBits()
    {
        using var run = new StoriesRun();
        (FineTuneResult plain, _) = run.Train("plain");
        (FineTuneResult profiled, _) = run.Train("profiled", o => o.Profile = true);
        byte[] Adapter(FineTuneResult result) => File.ReadAllBytes(Path.Combine(result.ModelPath, "adapter_model.safetensors"));
        Assert.Equal(Adapter(plain), Adapter(profiled));
        Assert.False(File.Exists(Path.Combine(plain.Output, "profile.json")));
    }

    [Fact]
    public void TheProfileAddsUp()
    {
        using var run = new StoriesRun();
        (FineTuneResult result, List<TrainingEvent> events) = run.Train("profiled", o => o.Profile = true);
        StepProfile profile = events.OfType<RunProfiled>().Single().Profile;
        Assert.Equal(3, profile.Steps); // the first of four warms up
        Assert.Equal(profile.Seconds, profile.Ops.Sum(o => o.Seconds), 1e-9 * profile.Seconds);
        Assert.All(profile.Ops, op => Assert.True(op.Seconds >= 0 && op.Calls % profile.Steps == 0, op.ToString()));
        Assert.Equal("between ops", profile.Ops[^1].Op);

        // stories260K: 5 blocks, hidden 64, 8 heads, 4 of keys, MLP 172, vocabulary 512; q, k, v, o, gate, up and down have adapters of rank 4.
        long Calls(string op) => profile.Ops.Where(o => o.Op.StartsWith(op, StringComparison.Ordinal)).Sum(o => o.Calls) / profile.Steps;
        Assert.Equal(5 * 7, Calls("linear forward"));
        Assert.Equal(5 * 7, Calls("linear backward"));
        Assert.Equal(5, Calls("attention forward"));
        Assert.Equal(5, Calls("attention backward"));
        Assert.Equal(1, Calls("cross-entropy 64→512"));
        ProfiledOp up = profile.Ops.Single(o => o.Op == "linear forward 64→172");
        Assert.Equal(2.0 * profile.Tokens * 5 * 2 * (64 * 172 + 4 * (64 + 172)), up.Operations);
        ProfiledOp attention = profile.Ops.Single(o => o.Op == "attention forward");
        Assert.InRange(attention.Operations, 4.0 * 5 * 64 * profile.Tokens, 4.0 * 5 * 64 * profile.Tokens * profile.Tokens);

        using JsonDocument file = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(result.Output, "profile.json")));
        Assert.Equal(profile.Seconds, file.RootElement.GetProperty("seconds").GetDouble());
        Assert.Equal(profile.Ops.Count, file.RootElement.GetProperty("ops").GetArrayLength());
        if (TestDevice.Name != "cpu") return;
        Assert.InRange(profile.ShareOfPeak!.Value, 1e-4, 1);
        Assert.Equal(profile.ShareOfPeak.Value, file.RootElement.GetProperty("share_of_peak").GetDouble());
    }
}
