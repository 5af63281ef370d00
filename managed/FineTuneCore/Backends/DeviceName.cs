using System.Globalization;
using FineTuneCore.Native;

namespace FineTuneCore.Backends;

/// <summary>What a user names with --device: a kind of library and an index, or auto (no kind).</summary>
internal readonly record struct DeviceName(NativeLibraryKind? Kind, int Index)
{
    internal const string Expected = "auto, cpu, cuda or cuda:N";

    /// <summary>Null when the text is none of <see cref="Expected"/>.</summary>
    internal static DeviceName? TryParse(string text)
    {
        const string Numbered = "cuda:";
        return text switch
        {
            "auto" => new DeviceName(null, 0),
            "cpu" => new DeviceName(NativeLibraryKind.Cpu, 0),
            "cuda" => new DeviceName(NativeLibraryKind.Cuda, 0),
            _ when text.StartsWith(Numbered, StringComparison.Ordinal)
                && int.TryParse(text.AsSpan(Numbered.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int index) => new DeviceName(NativeLibraryKind.Cuda, index),
            _ => null,
        };
    }

    public override string ToString() => Kind switch
    {
        null => "auto",
        NativeLibraryKind.Cpu => "cpu",
        _ => $"cuda:{Index.ToString(CultureInfo.InvariantCulture)}",
    };
}
