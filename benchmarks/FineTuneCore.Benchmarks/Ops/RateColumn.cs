using System.Globalization;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Parameters;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>GFLOP/s or GB/s of a benchmark, from the work it names and its mean time.</summary>
internal sealed class RateColumn : IColumn
{
    public string Id => nameof(RateColumn);

    public string ColumnName => "Rate";

    public bool AlwaysShow => true;

    public ColumnCategory Category => ColumnCategory.Custom;

    public int PriorityInCategory => 0;

    public bool IsNumeric => false;

    public UnitType UnitType => UnitType.Dimensionless;

    public string Legend => "10^9 operations, or useful bytes, a second";

    public bool IsAvailable(Summary summary) => true;

    public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

    public string GetValue(Summary summary, BenchmarkCase benchmarkCase) => GetValue(summary, benchmarkCase, SummaryStyle.Default);

    public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style)
    {
        if (summary[benchmarkCase]?.ResultStatistics is not { } statistics) return "-";
        var op = (OpBenchmark)Activator.CreateInstance(benchmarkCase.Descriptor.Type)!;
        foreach (ParameterInstance parameter in benchmarkCase.Parameters.Items)
            benchmarkCase.Descriptor.Type.GetProperty(parameter.Name)!.SetValue(op, parameter.Value);
        double rate = op.Work(benchmarkCase.Descriptor.WorkloadMethod.Name) / (statistics.Mean * 1e-9);
        return rate.ToString("F1", CultureInfo.InvariantCulture) + (op.Unit == RateUnit.Gigaflops ? " GFLOP/s" : " GB/s");
    }
}
