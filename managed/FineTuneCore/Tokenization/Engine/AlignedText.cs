using System.Text;

namespace FineTuneCore.Tokenization.Engine;

/// <summary>
/// A text on its way through the pipeline. Every UTF-16 unit remembers the range of the original text it stands for; a surrogate pair
/// counts as one character. Without arrays the text is the original itself, shifted by <see cref="_base"/>.
/// </summary>
internal sealed class AlignedText
{
    private readonly int _base;
    private readonly int[]? _starts;
    private readonly int[]? _ends;

    public AlignedText(string text, int originalStart = 0)
    {
        Text = text;
        _base = originalStart;
    }

    private AlignedText(string text, int[] starts, int[] ends)
    {
        Text = text;
        _starts = starts;
        _ends = ends;
    }

    public string Text { get; }

    public int StartOf(int index)
    {
        if (_starts is not null)
            return _starts[index];
        bool low = index > 0 && char.IsLowSurrogate(Text[index]) && char.IsHighSurrogate(Text[index - 1]);
        return _base + index - (low ? 1 : 0);
    }

    public int EndOf(int index)
    {
        if (_ends is not null)
            return _ends[index];
        bool high = index + 1 < Text.Length && char.IsHighSurrogate(Text[index]) && char.IsLowSurrogate(Text[index + 1]);
        return _base + index + (high ? 2 : 1);
    }

    /// <summary>The part [start, start + length) as a text of its own.</summary>
    public AlignedText Slice(int start, int length)
    {
        if (start == 0 && length == Text.Length)
            return this;
        string part = Text.Substring(start, length);
        return _starts is null
            ? new AlignedText(part, _base + start)
            : new AlignedText(part, _starts.AsSpan(start, length).ToArray(), _ends.AsSpan(start, length).ToArray());
    }

    /// <summary>Collects a new text unit by unit, each with the original range it stands for.</summary>
    internal sealed class Builder(int capacity)
    {
        private readonly StringBuilder _text = new(capacity);
        private readonly List<int> _starts = new(capacity);
        private readonly List<int> _ends = new(capacity);

        public int Length => _text.Length;

        public void Append(char unit, int start, int end)
        {
            _text.Append(unit);
            _starts.Add(start);
            _ends.Add(end);
        }

        public void Append(ReadOnlySpan<char> text, int start, int end)
        {
            foreach (char unit in text)
                Append(unit, start, end);
        }

        /// <summary>Appends [start, start + length) of <paramref name="source"/> unchanged.</summary>
        public void Append(AlignedText source, int start, int length)
        {
            _text.Append(source.Text, start, length);
            if (source._starts is not null)
            {
                _starts.AddRange(source._starts.AsSpan(start, length));
                _ends.AddRange(source._ends.AsSpan(start, length));
                return;
            }
            for (int i = start; i < start + length; i++)
            {
                _starts.Add(source.StartOf(i));
                _ends.Add(source.EndOf(i));
            }
        }

        public AlignedText Build() => new(_text.ToString(), [.. _starts], [.. _ends]);
    }
}
