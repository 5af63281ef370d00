using System.Text;
using FineTuneCore.Data;
using FineTuneCore.Files;
using FineTuneCore.Tokenization;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Files;

/// <summary>Tokenizers, shard indexes and datasets with bytes changed: they are read, or refused by an exception meant for users.</summary>
public sealed class DamagedTextFilesTests : IDisposable
{
    private const string Characters = "0123456789-.[]{}\",:\\eu tfn";
    private readonly string _directory = Directory.CreateTempSubdirectory("ftc-damaged-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("tokenizer.json", 400)]
    [InlineData("tokenizer.model", 400)]
    [InlineData("tokenizer_config.json", 400)]
    public void DamagedTokenizers(string damaged, int rounds)
    {
        foreach (string name in (string[])["tokenizer_config.json", "special_tokens_map.json", damaged])
            File.Copy(TestData.Path("models", "stories260K", name), Path.Combine(_directory, name), overwrite: true);
        if (damaged == "tokenizer_config.json") File.Copy(TestData.Path("models", "stories260K", "tokenizer.json"), Path.Combine(_directory, "tokenizer.json"));
        byte[] whole = File.ReadAllBytes(Path.Combine(_directory, damaged));
        int refused = Refused(damaged, whole, rounds, () => Tokenizer.Load(_directory).Encode("Once upon a time 42 ü 🎈", true));
        refused.Should().BeGreaterThan(rounds / 20);
    }

    [Fact]
    public void DamagedDatasets()
    {
        byte[] whole = Encoding.UTF8.GetBytes(
            """
            {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "weight": 1}], "tools": [{"type": "function"}]}
            {"prompt": "a", "completion": "b"}
            {"text": "c \ud83c\udf88"}
            {"instruction": "i", "input": "n", "output": "o"}
            {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}

            """);
        string path = Path.Combine(_directory, "data.jsonl");
        Refused("data.jsonl", whole, 2000, () => DatasetReader.Read(path).ToList()).Should().BeGreaterThan(500);
    }

    [Fact]
    public void DamagedIndexes()
    {
        File.WriteAllText(Path.Combine(_directory, "config.json"), "{}");
        File.WriteAllText(Path.Combine(_directory, "a.safetensors"), "");
        byte[] whole = Encoding.UTF8.GetBytes("""{"metadata": {"total_size": 8}, "weight_map": {"model.norm.weight": "a.safetensors", "lm_head.weight": "a.safetensors"}}""");
        Refused("model.safetensors.index.json", whole, 2000, () => ModelDirectory.Resolve(_directory).WeightFiles()).Should().BeGreaterThan(500);
    }

    /// <summary>How often the reader refused; an exception that is not meant for users fails the test with the bytes that did it.</summary>
    private int Refused(string name, byte[] whole, int rounds, Action read)
    {
        var random = new Random(13);
        int refused = 0;
        for (int round = 0; round < rounds; round++)
        {
            byte[] bytes = [.. whole];
            var changes = new List<string>();
            for (int n = random.Next(1, 4); n > 0; n--)
            {
                int at = random.Next(bytes.Length);
                byte value = random.Next(3) == 0 ? (byte)random.Next(256) : (byte)Characters[random.Next(Characters.Length)];
                bytes[at] = value;
                changes.Add($"[{at}] = {value}");
            }

            if (random.Next(6) == 0) bytes = bytes[..random.Next(bytes.Length)];
            File.WriteAllBytes(Path.Combine(_directory, name), bytes);
            try
            {
                read();
            }
            catch (Exception e) when (e is FineTuneException or TokenizationException)
            {
                e.Message.Should().NotBeNullOrWhiteSpace();
                refused++;
            }
            catch (Exception e)
            {
                Assert.Fail($"{name} with {string.Join(", ", changes)}, {bytes.Length} of {whole.Length} bytes: {e}");
            }
        }

        return refused;
    }
}
