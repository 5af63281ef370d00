using System.Globalization;

namespace FineTuneCore.Benchmarks.Comparison;

/// <summary>A folder name for machines of one kind, such as epyc-zen4-2vcpu: brand, microarchitecture, CPUs.</summary>
internal static class MachineName
{
    internal static string Here { get; } = Of(Machine.ModelName, Machine.Family, Machine.Model, Environment.ProcessorCount, Machine.Has("hypervisor"));

    internal static string Of(string modelName, string family, string model, int cpus, bool isVirtual)
    {
        string brand = ((string[])["EPYC", "Ryzen", "Threadripper", "Xeon", "Core"]).FirstOrDefault(b => modelName.Contains(b, StringComparison.OrdinalIgnoreCase)) ?? "cpu";
        return $"{brand.ToLowerInvariant()}-{Microarchitecture(modelName, family, model)}-{cpus}{(isVirtual ? "vcpu" : "cpu")}";
    }

    /// <summary>AMD's Zen generations by family and model; others keep their numbers.</summary>
    private static string Microarchitecture(string modelName, string family, string model)
    {
        int number = int.TryParse(model, CultureInfo.InvariantCulture, out int n) ? n : 0;
        if (!modelName.Contains("AMD", StringComparison.Ordinal)) return $"f{family}m{model}";
        return family switch
        {
            "23" => number < 0x30 ? "zen1" : "zen2",
            "25" => number is (>= 0x10 and <= 0x1f) or (>= 0x60 and <= 0x7f) or (>= 0xa0 and <= 0xaf) ? "zen4" : "zen3",
            "26" => "zen5",
            _ => $"f{family}m{model}",
        };
    }
}
