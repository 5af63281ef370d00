using FineTuneCore.Models;

namespace FineTuneCore.Adapters;

/// <summary>The adapter of one linear layer: A [Rank, in-features], B [out-features, Rank], both fp32.</summary>
internal sealed class LoraLayer
{
    internal required string Module { get; init; }

    internal required int Rank { get; init; }

    internal required float Scaling { get; init; }

    internal required float DropoutProbability { get; init; }

    /// <summary>Key of the dropout generator: names run and layer.</summary>
    internal required ulong DropoutSeed { get; init; }

    internal required Parameter A { get; init; }

    internal required Parameter B { get; init; }
}
