using System.Text.RegularExpressions;
using FineTuneCore.Conformance.Tests.Devices;
using FineTuneCore.Ilgpu;
using FineTuneCore.Ilgpu.Kernels;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Conformance.Tests.Ops;

/// <summary>What the kernels ask of a device, read from their OpenCL C: nothing that <see cref="OpenClDevices"/> does not demand.</summary>
public sealed partial class KernelSourceTests
{
    private static readonly Delegate Product = MatmulKernels.Product<Dense<ushort, Bf16Element>, Nf4Weight, float, F32Element, Fused, Wide>;
    private static readonly Lazy<KernelSource[]> Sources = new(() => [.. KernelSources.All()]);

    [Fact]
    public void NoKernelNeedsFp64OrFp16OrSubgroups()
    {
        Sources.Value.Should().HaveCountGreaterThan(100);
        foreach (KernelSource kernel in Sources.Value) Optional().Match(kernel.Source).Value.Should().BeEmpty("{0} has to run where these are missing", kernel.Name);
    }

    [Fact]
    public void EveryGroupsLocalMemoryFitsWhatADeviceMustHave()
    {
        Sources.Value.Max(s => s.SharedBytes).Should().BePositive().And.BeLessThanOrEqualTo(OpenClDevices.WideSharedBytes);
        Sources.Value.Where(s => !s.Name.Contains(nameof(Wide), StringComparison.Ordinal)).Max(s => s.SharedBytes).Should().BePositive().And.BeLessThanOrEqualTo(OpenClDevices.LeastSharedBytes);
    }

    /// <summary>What a group shares lies in local memory, which a barrier for global memory alone may leave unseen.</summary>
    [Fact]
    public void EveryBarrierNamesLocalMemory()
    {
        MatchCollection[] barriers = [.. Sources.Value.Select(s => Barrier().Matches(s.Source))];
        barriers.Sum(b => b.Count).Should().BePositive();
        barriers.SelectMany(b => b).Should().OnlyContain(b => b.Value.Contains("CLK_LOCAL_MEM_FENCE", StringComparison.Ordinal));
    }

    /// <summary>Drivers keep compiled programs by their text.</summary>
    [Fact]
    public void AKernelHasTheSameTextWhateverWasCompiledBefore()
    {
        string first = KernelSources.Of(Product);
        KernelSources.Of(AttentionKernels.Forward<ushort, Bf16Element, Wide>);
        KernelSources.Of(Product).Should().Be(first);
    }

    [GeneratedRegex(@"\b(double|half|cl_khr_fp64|cl_khr_fp16|(sub_group|work_group_reduce|intel_sub_group|atom)_\w*)\b")]
    private static partial Regex Optional();

    [GeneratedRegex(@"\b(work_group_)?barrier\s*\([^;]*;")]
    private static partial Regex Barrier();
}
