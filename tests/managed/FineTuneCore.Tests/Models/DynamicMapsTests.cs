using FineTuneCore.Models;
using FluentAssertions;
using Xunit;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Tests.Models;

/// <summary>The maps of 8-bit states against what bitsandbytes computes.</summary>
public sealed class DynamicMapsTests
{
    [Fact]
    public void TheSignedMapIsTheOneOfDoubleQuantisation()
    {
        float[] map = DynamicMaps.Signed();
        map.Should().HaveCount(256);
        for (int i = 0; i < 256; i++) map[i].Should().BeApproximately(Nf4Tables.NestedMap[i], 3e-7f * Math.Abs(Nf4Tables.NestedMap[i]), "value {0}", i);
    }

    [Fact]
    public void TheUnsignedMapHasTwiceTheValuesInEachDecade()
    {
        float[] map = DynamicMaps.Unsigned();
        map.Should().HaveCount(256).And.BeInAscendingOrder().And.OnlyHaveUniqueItems();
        (map[0], map[^1]).Should().Be((0f, 1f));
        // The decades of the signed map begin with one value, 0.55e-6; these with two, the middles of [0.1, 0.55] and [0.55, 1].
        map[1].Should().BeApproximately(0.325e-6f, 1e-12f);
        map[2].Should().BeApproximately(0.775e-6f, 1e-12f);
        map[^2].Should().BeApproximately(1 - 0.9f / 256, 1e-6f);
    }
}
