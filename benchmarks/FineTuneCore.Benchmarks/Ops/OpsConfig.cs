using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>One job for each instruction set of this CPU, as the native library reads it from the environment of a process.</summary>
internal sealed class OpsConfig : ManualConfig
{
    private const int Warmups = 2;
    private const int Iterations = 8;

    internal OpsConfig()
    {
        (string Isa, string Flag)[] sets = [("avx2", "avx2"), ("avx512", "avx512f")];
        foreach ((string isa, _) in sets.Where(s => Machine.Has(s.Flag)))
            AddJob(Job.Default.WithId(isa).WithEnvironmentVariable("FTC_CPU_ISA", isa).WithWarmupCount(Warmups).WithIterationCount(Iterations));
        AddColumnProvider(DefaultColumnProviders.Instance);
        HideColumns("EnvironmentVariables", "IterationCount", "WarmupCount");
        AddColumn(new RateColumn());
        AddLogger(ConsoleLogger.Default);
        AddExporter(MarkdownExporter.GitHub);
        ArtifactsPath = Path.Combine("artifacts", "BenchmarkDotNet");
    }
}
