using System.Reflection;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Perfolizer.Horology;

namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>
/// One side of the comparison of kernels, a process of its own: reads keys of cases from standard input and prints a JSON line for each, timed by
/// BenchmarkDotNet inside this process. What is no row is a line with the reason: <c>absent</c> where the side lacks the op, <c>wrong</c> where it fails or the
/// result is not its formula's.
/// </summary>
internal static class KernelRunner
{
    /// <summary>How the class of an op ends; its name says everything but the case, its one parameter.</summary>
    private const string ClassEnding = "Op";

    private const int Warmups = 1;
    private const int Iterations = 5;
    private const int LongIterations = 3;
    private const double IterationMilliseconds = 50;
    private const double LongSeconds = 0.25;

    private static readonly HashSet<KernelCase> ProvedCases = [];
    private static Func<Exception, bool> _isLack = _ => false;
    private static Exception? _problem;
    private static LoadMeter? _meter;
    private static double _otherCores;

    /// <summary>Every op this program has.</summary>
    internal static IEnumerable<Type> Ops => Assembly.GetExecutingAssembly().GetTypes()
        .Where(t => t.IsSubclassOf(typeof(KernelBenchmark)) && !t.IsAbstract && t.Name.EndsWith(ClassEnding, StringComparison.Ordinal));

    /// <summary>The name of an op, as cases have it: its class's without the ending.</summary>
    internal static string NameOf(Type op) => op.Name[..^ClassEnding.Length];

    /// <summary>A blank benchmark of an op, to ask for its work.</summary>
    internal static KernelBenchmark Create(Type op, KernelCase of)
    {
        var benchmark = (KernelBenchmark)Activator.CreateInstance(op)!;
        benchmark.Case = of;
        return benchmark;
    }

    internal static IEnumerable<string> Methods(Type op) => BenchmarkConverter.TypeToBenchmarks(op).BenchmarksCases.Select(c => c.Descriptor.WorkloadMethod.Name).Distinct();

    /// <summary>Times the cases of standard input, or proves their results alone.</summary>
    /// <param name="checkOnly">Nothing is timed.</param>
    /// <param name="log">Where BenchmarkDotNet writes what it would print.</param>
    /// <param name="gigaflops">What the side about reaches, which decides how often long calls are repeated.</param>
    /// <param name="isLack">Whether an exception says that the side has no such op.</param>
    internal static void Run(bool checkOnly, string log, double gigaflops, Func<Exception, bool> isLack)
    {
        _isLack = isLack;
        var wanted = new HashSet<string>();
        while (Console.In.ReadLine() is { Length: > 0 } key) wanted.Add(key);
        Type[] ops = [.. Ops.OrderBy(t => t.Name)];
        foreach (string key in wanted.Where(k => ops.All(o => NameOf(o) != k[..k.IndexOf('.')])))
            JsonLines.Write("absent", ("key", key), ("reason", "no such op"));
        if (checkOnly) CheckAll(ops, wanted);
        else TimeAll(ops, wanted, log, gigaflops);
        JsonLines.Write("end", ("peak_mb", Math.Round(Machine.PeakResidentMegabytes, 1)));
    }

    /// <summary>Why the case that is being prepared has no result.</summary>
    internal static void Note(Exception problem) => _problem = problem;

    internal static bool IsProved(KernelCase of) => ProvedCases.Contains(of);

    internal static void Proved(KernelCase of) => ProvedCases.Add(of);

    internal static void TimingBegins() => _meter = new LoadMeter();

    internal static void TimingEnded() => _otherCores = _meter?.Look().OtherCores ?? 0;

    private static void CheckAll(IEnumerable<Type> ops, HashSet<string> wanted)
    {
        foreach (Type op in ops)
        {
            string[] methods = [.. Methods(op)];
            foreach (KernelCase of in KernelCase.All.Where(c => c.Op == NameOf(op)))
            {
                string[] keys = [.. methods.Select(m => of.Key(m)).Where(wanted.Contains)];
                if (keys.Length == 0) continue;
                KernelBenchmark benchmark = Create(op, of);
                _problem = null;
                try
                {
                    benchmark.Open();
                }
                catch (Exception e) when (e == _problem)
                {
                }

                benchmark.Close();
                foreach (string key in keys) WriteOutcome(key, () => JsonLines.Write("right", ("key", key)));
            }
        }
    }

    private static void TimeAll(IEnumerable<Type> ops, HashSet<string> wanted, string log, double gigaflops)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(log)!);
        using var writer = new StreamWriter(log);
        var logger = new StreamLogger(writer);
        IConfig brief = Config(logger, Brief), lengthy = Config(logger, Lengthy);
        foreach (Type op in ops)
        {
            bool IsLong(KernelBenchmark blank, string method) => blank.Family.IsArithmetic && blank.Work(method) / gigaflops > LongSeconds;
            foreach (BenchmarkCase known in BenchmarkConverter.TypeToBenchmarks(op).BenchmarksCases.Where(c => wanted.Contains(Key(c))))
            {
                IConfig config = IsLong(Create(op, (KernelCase)known.Parameters["Case"]), known.Descriptor.WorkloadMethod.Name) ? lengthy : brief;
                BenchmarkRunInfo all = BenchmarkConverter.TypeToBenchmarks(op, config);
                BenchmarkCase of = all.BenchmarksCases.Single(c => Key(c) == Key(known));
                Time(new BenchmarkRunInfo([of], op, all.Config), of);
            }
        }
    }

    /// <summary>One call a step (no unrolling), as calls take from a microsecond on; the pilot finds how many make an iteration.</summary>
    private static Job Brief => Common.WithWarmupCount(Warmups).WithIterationCount(Iterations).WithIterationTime(TimeInterval.FromMilliseconds(IterationMilliseconds))
        .WithMinInvokeCount(1).WithUnrollFactor(1);

    /// <summary>Calls of a second or so: one an iteration, few, and none ahead but that of the check.</summary>
    private static Job Lengthy => Common.WithStrategy(RunStrategy.Monitoring).WithWarmupCount(0).WithIterationCount(LongIterations).WithInvocationCount(1).WithUnrollFactor(1);

    private static Job Common => new Job().WithToolchain(new InProcessNoEmitToolchain(TimeSpan.FromMinutes(10), logOutput: true)).WithEvaluateOverhead(false);

    private static void Time(BenchmarkRunInfo run, BenchmarkCase of)
    {
        (_problem, _meter) = (null, null);
        Summary? summary = null;
        try
        {
            summary = BenchmarkRunner.Run(run);
        }
        catch (Exception) when (_problem is not null)
        {
            // BenchmarkDotNet falls over a setup that fails inside this process; why it failed is known.
        }

        WriteOutcome(Key(of), () =>
        {
            if (summary!.Reports.FirstOrDefault()?.ResultStatistics is not { } statistics)
                throw new InvalidOperationException($"BenchmarkDotNet has no result of {Key(of)}: {string.Join("; ", summary.ValidationErrors.Select(e => e.Message))}; its log may say more");
            JsonLines.Write(
                "row", ("key", Key(of)), ("median_ns", statistics.Median), ("error_ns", statistics.StandardError), ("other_cores", Math.Round(_otherCores, 3)));
        });
    }

    private static ManualConfig Config(ILogger logger, Job job) =>
        ManualConfig.CreateEmpty().AddJob(job).AddLogger(logger).AddColumnProvider(DefaultColumnProviders.Instance)
            .WithOptions(ConfigOptions.DisableLogFile | ConfigOptions.KeepBenchmarkFiles).WithArtifactsPath(Path.Combine("artifacts", "BenchmarkDotNet"));

    private static string Key(BenchmarkCase of) => ((KernelCase)of.Parameters["Case"]).Key(of.Descriptor.WorkloadMethod.Name);

    private static void WriteOutcome(string key, Action right)
    {
        if (_problem is null) right();
        else JsonLines.Write(_isLack(_problem) ? "absent" : "wrong", ("key", key), ("reason", _problem.Message.TrimEnd('.')));
    }
}
