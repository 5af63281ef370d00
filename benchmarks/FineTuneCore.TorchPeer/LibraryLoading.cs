using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using TorchSharp;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>
/// Makes libLibTorchSharp.so load on systems whose libstdc++ stops at GLIBCXX_3.4.30 (g++ 12). It needs one symbol of 3.4.32,
/// std::ios_base_library_init(): the need is marked weak in the copy beside this program, and the symbol comes from a shim.
/// </summary>
internal static partial class LibraryLoading
{
    private const int Now = 2;
    private const int Global = 0x100;
    private const string NeededVersion = "GLIBCXX_3.4.32";
    private const string Shim = "#include <ios>\nstatic std::ios_base::Init init;\nextern \"C\" void _ZSt21ios_base_library_initv() {}\n";

    /// <summary>Loads TorchSharp; null, or why it does not load.</summary>
    internal static string? Load()
    {
        string library = Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libLibTorchSharp.so");
        if (!File.Exists(library)) library = Path.Combine(AppContext.BaseDirectory, "libLibTorchSharp.so");
        try
        {
            if (!File.Exists(library)) return "libLibTorchSharp.so is not beside the program";
            if (!SystemHasVersion()) Prepare(library);
            torch.TryInitializeDeviceType(DeviceType.CPU);
            using torch.Tensor one = torch.ones(1);
            return one.item<float>() == 1 ? null : "a tensor of ones does not hold a one";
        }
        catch (Exception e)
        {
            return $"{e.GetType().Name}: {e.Message}";
        }
    }

    private static bool SystemHasVersion()
    {
        string[] folders = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"];
        string? system = folders.Select(f => Path.Combine(f, "libstdc++.so.6")).FirstOrDefault(File.Exists);
        return system is not null && File.ReadAllBytes(system).AsSpan().IndexOf(Encoding.ASCII.GetBytes(NeededVersion)) >= 0;
    }

    private static void Prepare(string library)
    {
        byte[] image = File.ReadAllBytes(library);
        Span<byte> need = stackalloc byte[6]; // Elf64_Vernaux begins with hash (4 bytes) and flags (2 bytes), which are 0 as built
        BitConverter.TryWriteBytes(need, ElfHash(NeededVersion));
        if (image.AsSpan().IndexOf(need) is >= 0 and int at)
        {
            image[at + 4] = 2; // VER_FLG_WEAK
            File.Delete(library); // another name for the file in the package cache, where packages are linked instead of copied
            File.WriteAllBytes(library, image);
        }

        string shim = Path.Combine(AppContext.BaseDirectory, "libiosinit.so");
        if (!File.Exists(shim)) CompileShim(shim);
        if (dlopen(shim, Now | Global) == 0) throw new InvalidOperationException($"{shim} does not load");
    }

    private static uint ElfHash(string name)
    {
        uint hash = 0;
        foreach (char c in name)
        {
            hash = (hash << 4) + c;
            uint high = hash & 0xf0000000;
            hash = (hash ^ (high >> 24)) & ~high;
        }

        return hash;
    }

    private static void CompileShim(string shim)
    {
        string source = Path.ChangeExtension(shim, ".cpp");
        File.WriteAllText(source, Shim);
        using Process compiler = Process.Start("g++", ["-O2", "-shared", "-fPIC", source, "-o", shim]);
        compiler.WaitForExit();
        if (compiler.ExitCode != 0) throw new InvalidOperationException($"g++ could not build {shim}");
    }

    [LibraryImport("libc.so.6", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopen(string file, int flags);
}
