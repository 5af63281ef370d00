using System.Text.Json.Nodes;
using FineTuneCore.Tests;
using FluentAssertions;

namespace FineTuneCore.Cli.Tests;

/// <summary>
/// A good model, good data and a place for results that a test damages in one respect. What a user then sees is checked here: the exit
/// code, one paragraph on standard error, nothing on standard output, nothing written.
/// </summary>
internal sealed class BadInput : IDisposable
{
    private readonly TemporaryDirectory _temporary = new();

    internal BadInput()
    {
        Model = Path.Combine(_temporary.Path, "model");
        Directory.CreateDirectory(Model);
        string source = TestData.Path("models", "stories260K");
        foreach (string name in (string[])["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"])
            File.Copy(Path.Combine(source, name), Path.Combine(Model, name));
        Data = _temporary.Write("data.jsonl", Lines(20));
        Output = _temporary.File("run");
    }

    internal string Model { get; }

    internal string Data { get; set; }

    internal string Output { get; set; }

    internal string Place(string name) => _temporary.File(name);

    internal string ModelFile(string name) => Path.Combine(Model, name);

    internal string Write(string name, string text) => _temporary.Write(name, text);

    /// <summary>Good rows of prompt and completion.</summary>
    internal static string Lines(int count) => string.Concat(Enumerable.Range(0, count).Select(i =>
        $"{{\"prompt\": \"Tim and Sam {i}\", \"completion\": \" play with the ball.\"}}\n"));

    /// <summary>Changes one key of config.json; null removes it.</summary>
    internal void Config(string key, JsonNode? value)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(ModelFile("config.json")))!.AsObject();
        config.Remove(key);
        if (value is not null) config[key] = value;
        File.WriteAllText(ModelFile("config.json"), config.ToJsonString());
    }

    /// <summary>Trains two steps; options given here replace its own.</summary>
    internal FtcProcess.Result Train(params string[] more)
    {
        string[] own = ["--model", Model, "--data", Data, "--output", Output, "--max-steps", "2", "--rank", "4", "--early-stopping", "0"];
        IEnumerable<string> kept = own.Chunk(2).Where(pair => !more.Contains(pair[0])).SelectMany(pair => pair);
        return FtcProcess.Run(["train", .. kept, .. more]);
    }

    /// <summary>Training is refused like this, and leaves nothing.</summary>
    internal void TrainingFails(int code, string[] arguments, params string[] says)
    {
        string[] before = Everything();
        Failed(Train(arguments), code, says);
        Everything().Should().Equal(before, "nothing half-written may stay");
    }

    /// <summary>One paragraph on standard error with all these parts, nothing on standard output, this exit code.</summary>
    internal static void Failed(FtcProcess.Result result, int code, params string[] says)
    {
        result.ExitCode.Should().Be(code, "standard error says: {0}", result.Error);
        result.Output.Should().BeEmpty("errors belong on standard error");
        string text = result.Error.TrimEnd('\n');
        text.Should().StartWith("ftc: ").And.NotContain("\n", "an error is one paragraph").And.NotContain("   at ").And.NotContain("Exception");
        text.Length.Should().BeGreaterThan(40, "an error says where, what is, what was expected and what to do");
        foreach (string part in says) text.Should().Contain(part);
    }

    private string[] Everything() => [.. Directory.EnumerateFileSystemEntries(_temporary.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

    public void Dispose() => _temporary.Dispose();
}
