using BenchmarkDotNet.Parameters;
using BenchmarkDotNet.Running;

namespace FineTuneCore.Benchmarks.Ops;

/// <summary>Makes the operands of every op benchmark and proves its result, without timing anything.</summary>
internal static class OpChecks
{
    /// <exception cref="InvalidOperationException">A result differs from its formula.</exception>
    internal static void Run()
    {
        foreach (Type type in typeof(OpBenchmark).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(OpBenchmark)) && !t.IsAbstract).OrderBy(t => t.Name))
        {
            // The methods of a class share their parameters.
            foreach (ParameterInstances parameters in BenchmarkConverter.TypeToBenchmarks(type).BenchmarksCases.Select(c => c.Parameters).DistinctBy(p => p.DisplayInfo))
            {
                var op = (OpBenchmark)Activator.CreateInstance(type)!;
                foreach (ParameterInstance parameter in parameters.Items) type.GetProperty(parameter.Name)!.SetValue(op, parameter.Value);
                op.Open();
                op.Close();
                Console.WriteLine($"{type.Name} {string.Join(", ", parameters.Items.Select(p => p.Value))}: right");
            }
        }
    }
}
