using System.Globalization;

namespace FineTuneCore.Backends;

/// <summary>What computes.</summary>
internal enum DeviceKind
{
    /// <summary>This machine's processor.</summary>
    Cpu,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda,

    /// <summary>Another maker's GPU, through OpenCL.</summary>
    OpenCl,
}

/// <summary>What a user names with --device: a kind and an index, or auto (no kind).</summary>
internal readonly record struct DeviceName(DeviceKind? Kind, int Index)
{
    internal const string Expected = "auto, cpu, cuda, cuda:N, opencl or opencl:N";

    /// <summary>Null when the text is none of <see cref="Expected"/>.</summary>
    internal static DeviceName? TryParse(string text) => text switch
    {
        "auto" => new DeviceName(null, 0),
        "cpu" => new DeviceName(DeviceKind.Cpu, 0),
        _ => TryNumbered(text, "cuda", DeviceKind.Cuda) ?? TryNumbered(text, "opencl", DeviceKind.OpenCl),
    };

    public override string ToString() => Kind switch
    {
        null => "auto",
        DeviceKind.Cpu => "cpu",
        DeviceKind.Cuda => string.Create(CultureInfo.InvariantCulture, $"cuda:{Index}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"opencl:{Index}"),
    };

    private static DeviceName? TryNumbered(string text, string kind, DeviceKind named)
    {
        if (text == kind) return new DeviceName(named, 0);
        return text.StartsWith(kind + ":", StringComparison.Ordinal)
            && int.TryParse(text.AsSpan(kind.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? new DeviceName(named, index) : null;
    }
}
