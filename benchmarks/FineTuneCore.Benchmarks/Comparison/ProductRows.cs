using System.Text.Json.Nodes;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>What tables of products share: a row of theirs is found again in every round, and both sides must have come to the same product.</summary>
internal static class ProductRows
{
    private const double Fp32Tolerance = 1e-4;
    private const double Bf16Tolerance = 1e-2;

    /// <summary>The instruction sets that a table is measured with, those this CPU lacks left out and noted.</summary>
    internal static string[] Available(Table table, IEnumerable<string> isas, int threads)
    {
        var available = new List<string>();
        foreach (string isa in isas)
        {
            try
            {
                StepTable.CheckMachine(isa, threads);
                available.Add(isa);
            }
            catch (RefusedException e)
            {
                table.Waiting.Add(new JsonObject { ["row"] = $"{isa}, {StepTable.Threads(threads)}", ["reason"] = e.Message });
            }
        }

        return [.. available];
    }

    /// <summary>Rows of one process that match these values.</summary>
    internal static IEnumerable<JsonObject> Rows(Measurement measurement, params IReadOnlyList<(string Key, JsonNode Value)> values) =>
        measurement.Lines.Where(line => values.All(v => JsonNode.DeepEquals(line[v.Key], v.Value)));

    internal static double Milliseconds(JsonObject row) => (double)row["ms"]!;

    /// <summary>What a product reached of the peak that was measured between its rounds: the pace of a shared machine changes.</summary>
    internal static double ShareOfPeak(JsonObject row) => (double)row["gflops"]! / (double)row["peak_gflops"]!;

    /// <summary>Sums of magnitudes of both results.</summary>
    /// <exception cref="NoResultException">They differ by more than rounding.</exception>
    internal static void CheckSame(string name, JsonObject ours, JsonObject peer, bool bf16)
    {
        double a = (double)ours["sum_of_magnitudes"]!, b = (double)peer["sum_of_magnitudes"]!, tolerance = bf16 ? Bf16Tolerance : Fp32Tolerance;
        if (!(Math.Abs(a - b) <= tolerance * b)) throw new NoResultException($"{name}: no result, magnitudes sum up to {a}, the peer's to {b}");
    }
}
