using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Native.Tests;

/// <summary>Reads <c>ftc.h</c> and holds the imports and structs against it, so that nobody has to remember.</summary>
public sealed partial class HeaderEqualsImportsTests
{
    private static readonly string Header = StripComments(File.ReadAllText(FindHeader()));

    [Fact]
    public void EveryFunctionIsImportedWithItsParameterCount()
    {
        var declared = Functions().Matches(Header).ToDictionary(
            m => m.Groups["name"].Value,
            m => m.Groups["parameters"].Value.Trim() is "void" or "" ? 0 : m.Groups["parameters"].Value.Split(',').Length);
        var imported = typeof(NativeMethods)
            .GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public)
            .Where(m => m.Name.StartsWith("ftc_", StringComparison.Ordinal))
            .ToDictionary(m => m.Name, m => m.GetParameters().Length);

        declared.Should().HaveCountGreaterThan(30);
        imported.Should().BeEquivalentTo(declared);
    }

    [Fact]
    public void EveryStructHasTheHeadersFieldsInOrder()
    {
        var declared = Structs().Matches(Header).ToDictionary(m => m.Groups["name"].Value, m => FieldsOf(m.Groups["body"].Value));
        declared.Should().HaveCountGreaterThan(10);
        foreach ((string name, List<(string Name, int Size, int Align)> fields) in declared)
        {
            Type type = typeof(NativeMethods).Assembly.GetType($"FineTuneCore.Native.{Pascal(name["ftc_".Length..])}")
                ?? throw new InvalidOperationException($"no managed struct for {name}");
            type.GetFields(BindingFlags.Instance | BindingFlags.Public).Select(f => f.Name)
                .Should().Equal(fields.Select(f => Pascal(f.Name)), "fields of {0}", name);
            SizeOf(type).Should().Be(CSize(fields), "size of {0}", name);
        }
    }

    /// <summary>The benchmarks call the library from Python, with structs of their own, where only a GPU machine would notice a difference.</summary>
    [Fact]
    public void ThePeersOfTheBenchmarksHaveTheHeadersFieldsToo()
    {
        string repository = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(FindHeader())!, "..", ".."));
        string python = File.ReadAllText(Path.Combine(repository, "benchmarks", "peers", "ftc_library.py"));
        var declared = Structs().Matches(Header).ToDictionary(m => Pascal(m.Groups["name"].Value["ftc_".Length..]), m => FieldsOf(m.Groups["body"].Value));
        var structs = PythonStructs().Matches(python).ToArray();
        structs.Should().HaveCountGreaterThan(5);
        foreach (Match match in structs)
        {
            string name = match.Groups["name"].Value;
            var fields = new List<(string, int)> { ("struct_size", 4) };
            foreach (Match field in (IEnumerable<Match>)PythonFields().Matches(match.Groups["fields"].Value))
            {
                int size = field.Groups["kind"].Value is "I64" or "U64" or "P" ? 8 : 4;
                fields.AddRange(field.Groups["names"].Value.Split(' ').Select(n => (n, size)));
            }

            fields.Should().Equal(declared[name].Select(f => (f.Name, f.Size)), "fields of {0}", name);
        }
    }

    private static int CSize(List<(string Name, int Size, int Align)> fields)
    {
        int offset = 0, alignment = 1;
        foreach ((_, int size, int align) in fields)
        {
            offset = (offset + align - 1) / align * align + size;
            alignment = Math.Max(alignment, align);
        }

        return (offset + alignment - 1) / alignment * alignment;
    }

    private static int SizeOf(Type type) => (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    private static List<(string Name, int Size, int Align)> FieldsOf(string body)
    {
        var fields = new List<(string, int, int)>();
        foreach (string declaration in body.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            int space = declaration.IndexOf(declaration.Contains('*') ? '*' : ' ');
            string type = declaration.Contains('*') ? "*" : declaration[..space];
            foreach (string raw in declaration[(space + 1)..].Split(','))
            {
                string name = raw.Trim().TrimStart('*');
                int count = 1;
                if (name.EndsWith(']'))
                {
                    count = int.Parse(name[(name.IndexOf('[') + 1)..^1]);
                    name = name[..name.IndexOf('[')];
                }

                int size = type switch { "*" or "int64_t" or "uint64_t" => 8, "int32_t" or "uint32_t" or "float" => 4, "char" => 1, _ => 0 };
                size.Should().BePositive("'{0}' must be of a type that may cross the border", declaration);
                fields.Add((name, size * count, size));
            }
        }

        return fields;
    }

    private static string Pascal(string snake) =>
        string.Concat(snake.Split('_').Select(word => char.ToUpperInvariant(word[0]) + word[1..]));

    private static string StripComments(string text) => Comments().Replace(text, " ");

    private static string FindHeader()
    {
        for (string? at = AppContext.BaseDirectory; at is not null; at = Path.GetDirectoryName(at))
        {
            string candidate = Path.Combine(at, "native", "include", "ftc.h");
            if (File.Exists(candidate)) return candidate;
        }

        throw new FileNotFoundException("native/include/ftc.h is not above the test program");
    }

    [GeneratedRegex(@"/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex Comments();

    [GeneratedRegex(@"^\w+ = struct\(""(?<name>\w+)""(?<fields>.*?)\)\n(?!\s)", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex PythonStructs();

    // ("name", KIND) or *of(KIND, "several names")
    [GeneratedRegex(@"\(""(?<names>\w+)"", (?<kind>\w+)\)|\*of\((?<kind>\w+), ""(?<names>[\w ]+)""\)")]
    private static partial Regex PythonFields();

    [GeneratedRegex(@"FTC_API\s+[\w\s\*]+?\b(?<name>ftc_\w+)\s*\((?<parameters>[^)]*)\)\s*;", RegexOptions.Singleline)]
    private static partial Regex Functions();

    [GeneratedRegex(@"typedef struct (?<name>ftc_\w+)\s*\{(?<body>[^}]*)\}", RegexOptions.Singleline)]
    private static partial Regex Structs();
}
