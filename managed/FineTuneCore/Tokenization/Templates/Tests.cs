using System.Numerics;

namespace FineTuneCore.Tokenization.Templates;

/// <summary>What follows <c>is</c>.</summary>
internal static class Tests
{
    public static bool Apply(string name, object? value, Arguments arguments)
    {
        bool result = name switch
        {
            "defined" => value is not Undefined,
            "undefined" => value is Undefined,
            "none" => value is null,
            "boolean" => value is bool,
            "true" => value is true,
            "false" => value is false,
            "integer" => value is long or BigInteger,
            "float" => value is double,
            "number" => value is bool or long or BigInteger or double,
            "string" => value is string,
            "mapping" => value is Mapping,
            "sequence" => value is string or Sequence or Mapping or Undefined,
            "iterable" => value is string or Sequence or Mapping or Undefined or Generator or LoopState,
            "callable" => value is Callable or Undefined or LoopState,
            "sameas" => arguments.Required("other") is var other && (ReferenceEquals(value, other)
                || value is bool or long or string or null && value?.GetType() == other?.GetType() && Python.AreEqual(value, other)),
            "escaped" => false,
            "lower" => Python.Text(value) is var lower && lower.Any(char.IsLower) && !lower.Any(char.IsUpper),
            "upper" => Python.Text(value) is var upper && upper.Any(char.IsUpper) && !upper.Any(char.IsLower),
            "odd" => IsMultiple(value, 2, 1),
            "even" => IsMultiple(value, 2, 0),
            "divisibleby" => Python.TryInteger(arguments.Required("num"), out long divisor) && IsMultiple(value, divisor, 0),
            "in" => Python.Contains(arguments.Required("seq"), value),
            "eq" or "equalto" or "==" => Python.AreEqual(value, arguments.Required("other")),
            "ne" or "!=" => !Python.AreEqual(value, arguments.Required("other")),
            "lt" or "lessthan" or "<" => Python.Compare(value, arguments.Required("other"), "<") < 0,
            "le" or "<=" => Python.Compare(value, arguments.Required("other"), "<=") <= 0,
            "gt" or "greaterthan" or ">" => Python.Compare(value, arguments.Required("other"), ">") > 0,
            "ge" or ">=" => Python.Compare(value, arguments.Required("other"), ">=") >= 0,
            "filter" => value is string filter && Filters.Exists(filter),
            "test" => value is string test && Exists(test),
            _ => throw new TemplateError($"No test named '{name}'"),
        };
        arguments.Done();
        return result;
    }

    private static bool Exists(string name)
    {
        try
        {
            Apply(name, 1L, new Arguments(name, [1L], []));
        }
        catch (TemplateError e)
        {
            return !e.Message.StartsWith("No test", StringComparison.Ordinal);
        }
        return true;
    }

    private static bool IsMultiple(object? value, long divisor, double remainder) =>
        Python.TryNumber(Operators.Apply("%", value is string ? null : value, divisor), out double rest) && rest == remainder;
}
