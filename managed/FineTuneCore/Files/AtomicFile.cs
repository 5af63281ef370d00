using System.Runtime.InteropServices;
using System.Text;

namespace FineTuneCore.Files;

/// <summary>
/// Files and directories that appear whole or not at all: written beside their place, flushed to disk, then renamed.
/// A kill at any instant leaves the old state or the new one.
/// </summary>
internal static partial class AtomicFile
{
    /// <summary>Writes one file.</summary>
    internal static void Write(string path, Action<Stream> write)
    {
        string temporary = $"{path}.tmp-{Environment.ProcessId}";
        try
        {
            WriteDurably(temporary, write);
            File.Move(temporary, path, overwrite: true);
            FlushDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch (Exception e)
        {
            TryDelete(() => File.Delete(temporary));
            throw Translate(path, e);
        }
    }

    /// <summary>Writes one UTF-8 text file.</summary>
    internal static void WriteText(string path, string text) => Write(path, stream => stream.Write(new UTF8Encoding(false).GetBytes(text)));

    /// <summary>Fills a new directory in a temporary place beside <paramref name="path"/>, then renames it; an old one is replaced.</summary>
    internal static void WriteDirectory(string path, Action<string> fill)
    {
        string full = Path.GetFullPath(path).TrimEnd(Path.DirectorySeparatorChar);
        string parent = Path.GetDirectoryName(full)!;
        string temporary = Path.Combine(parent, $".{Path.GetFileName(full)}.tmp-{Environment.ProcessId}");
        string old = Path.Combine(parent, $".{Path.GetFileName(full)}.old-{Environment.ProcessId}");
        try
        {
            if (Directory.Exists(temporary)) Directory.Delete(temporary, recursive: true);
            Directory.CreateDirectory(temporary);
            fill(temporary);
            FlushDirectory(temporary);
            if (Directory.Exists(full)) Directory.Move(full, old);
            Directory.Move(temporary, full);
            FlushDirectory(parent);
            if (Directory.Exists(old)) Directory.Delete(old, recursive: true);
        }
        catch (Exception e)
        {
            TryDelete(() => Directory.Delete(temporary, recursive: true));
            if (!Directory.Exists(full) && Directory.Exists(old)) TryDelete(() => Directory.Move(old, full));
            throw Translate(path, e);
        }
    }

    /// <summary>Writes a file inside a directory that is itself still temporary: flushed to disk, not renamed.</summary>
    internal static void WriteDurably(string path, Action<Stream> write)
    {
        using var stream = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20);
        write(stream);
        stream.Flush(flushToDisk: true);
    }

    private static Exception Translate(string path, Exception e) => e switch
    {
        FineTuneException => e,
        IOException io when IsDiskFull(io) => FineTuneException.DoesNotFit(
            $"{path} could not be written: the disk is full ({FreeText(path)} free). What was there before is untouched; free some space or choose another --output, then resume.", io),
        IOException or UnauthorizedAccessException => FineTuneException.Failed($"{path} could not be written: {e.Message}", e),
        _ => e,
    };

    private static bool IsDiskFull(IOException e) =>
        (e.HResult & 0xFFFF) is 28 or 0x70 or 0x27 || e.Message.Contains("No space left", StringComparison.OrdinalIgnoreCase);

    private static string FreeText(string path)
    {
        try
        {
            return $"{new DriveInfo(Path.GetDirectoryName(Path.GetFullPath(path))!).AvailableFreeSpace / 1e6:F1} MB";
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            return "an unknown amount";
        }
    }

    private static void TryDelete(Action delete)
    {
        try
        {
            delete();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A leftover temporary does no harm; the first error is the one to report.
        }
    }

    private static void FlushDirectory(string path)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS()) return;
        int descriptor = Posix.open(path, 0);
        if (descriptor < 0) return;
        Posix.fsync(descriptor);
        Posix.close(descriptor);
    }

    private static partial class Posix
    {
        [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
        internal static partial int open(string path, int flags);

        [LibraryImport("libc")]
        internal static partial int fsync(int descriptor);

        [LibraryImport("libc")]
        internal static partial int close(int descriptor);
    }
}
