using System.Globalization;
using System.Text;

namespace FineTuneCore.Data;

/// <summary>Collects what is wrong with a dataset, so that a user sees more than the first mistake.</summary>
internal sealed class DataErrors(int limit = 100)
{
    private const int Shown = 5;
    private readonly List<DataException> _errors = [];

    public int Count => _errors.Count;

    /// <exception cref="DataException">There are as many errors as are worth collecting.</exception>
    public void Add(DataException error)
    {
        _errors.Add(error);
        if (_errors.Count >= limit)
            Throw(stopped: true);
    }

    /// <exception cref="DataException">There is at least one error.</exception>
    public void ThrowIfAny()
    {
        if (_errors.Count > 0)
            Throw(stopped: false);
    }

    private void Throw(bool stopped)
    {
        if (_errors.Count == 1)
            throw _errors[0];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{_errors.Count}{(stopped ? " or more" : "")} samples cannot be used");
        text.Append(_errors.Count > Shown ? $"; the first {Shown}:" : ":");
        foreach (DataException error in _errors.Take(Shown))
            text.Append("\n  ").Append(error.Message);
        throw new DataException(text.ToString(), _errors[0]);
    }
}
