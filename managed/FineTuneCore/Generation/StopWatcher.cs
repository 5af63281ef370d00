using System.Text;

namespace FineTuneCore.Generation;

/// <summary>Lets text through until a stop text appears; holds back what could be the beginning of one.</summary>
internal sealed class StopWatcher(IReadOnlyList<string> stops)
{
    private readonly StringBuilder _held = new();

    internal bool Stopped { get; private set; }

    /// <summary>The part of the text so far that is certainly not a stop text.</summary>
    internal string Add(string piece)
    {
        if (stops.Count == 0 || Stopped) return Stopped ? "" : piece;
        string text = _held.Append(piece).ToString();
        _held.Clear();
        int cut = stops.Where(s => s.Length > 0).Select(s => text.IndexOf(s, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(-1).Min();
        if (cut >= 0)
        {
            Stopped = true;
            return text[..cut];
        }

        int keep = Enumerable.Range(1, Math.Min(text.Length, stops.Max(s => s.Length))).Where(n => stops.Any(s => s.Length > n && s.StartsWith(text[^n..], StringComparison.Ordinal))).DefaultIfEmpty(0).Max();
        _held.Append(text[^keep..]);
        return text[..^keep];
    }

    internal string Flush() => Stopped ? "" : _held.ToString();
}
