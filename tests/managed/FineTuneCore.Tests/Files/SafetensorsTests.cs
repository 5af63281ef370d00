using System.Text;
using System.Text.Json;
using FineTuneCore.Files;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Files;

/// <summary>Reading files of others and hostile ones, writing files that others read.</summary>
public sealed class SafetensorsTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ftc-safetensors-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void EveryCaseOfTheFormatsOwnTests()
    {
        int cases = 0;
        foreach (JsonElement @case in TestData.Json("safetensors_format", "cases.json").GetProperty("cases").EnumerateArray())
        {
            cases++;
            string name = @case.GetProperty("name").GetString()!;
            string path = Write(Convert.FromHexString(@case.GetProperty("file_hex").GetString()!));
            if (@case.GetProperty("result").GetString() == "error")
            {
                FluentActions.Invoking(() => SafetensorsFile.Open(path).Dispose()).Should().Throw<FineTuneException>(name).WithMessage($"{path} *", name);
                continue;
            }

            using SafetensorsFile file = SafetensorsFile.Open(path);
            string[] expected = [.. @case.GetProperty("tensors").EnumerateArray().Select(t => $"{t[0].GetString()} {t[1].GetString()} [{string.Join(", ", t[2].Ints())}]")];
            file.Header.Tensors.Values.Select(t => $"{t.Name} {t.Type} [{string.Join(", ", t.Shape)}]").Should().Equal(expected, name);
            foreach (TensorEntry entry in file.Header.Tensors.Values) file.Bytes(entry).Length.Should().Be((int)entry.ByteCount, name);
        }

        cases.Should().Be(15);
    }

    [Theory]
    [InlineData("""{"t":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":["0",4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,null]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"4","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32, F32","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775807,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"u":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":[]}""")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"__metadata__":{"\ud800":"x"},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""{"t":{"dtype":"\udfff","shape":[1],"data_offsets":[0,4]}}""")]
    [InlineData("""[]""")]
    [InlineData("""null""")]
    [InlineData("")]
    public void HeadersThatLieAreRefusedByName(string header)
    {
        string path = Write(Container(header, 4));
        FluentActions.Invoking(() => SafetensorsFile.Open(path).Dispose()).Should().Throw<FineTuneException>().WithMessage($"{path} *");
    }

    [Fact]
    public void DamagedHeadersNeverEndInAnotherException()
    {
        byte[] whole = Container("""{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}""", 32);
        var random = new Random(7);
        int refused = 0, opened = 0;
        for (int round = 0; round < 3000; round++)
        {
            byte[] bytes = [.. whole];
            for (int changes = random.Next(1, 4); changes > 0; changes--)
            {
                int at = random.Next(bytes.Length - 32);
                bytes[at] = random.Next(3) switch { 0 => (byte)random.Next(256), 1 => (byte)"0123456789-.[]{}\",:\\eu"[random.Next(22)], _ => whole[random.Next(8, whole.Length)] };
            }

            if (random.Next(4) == 0) bytes = bytes[..random.Next(bytes.Length)];
            string path = Write(bytes);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(path);
                foreach (TensorEntry entry in file.Header.Tensors.Values) _ = file.Bytes(entry).ToArray();
                opened++;
            }
            catch (FineTuneException e)
            {
                e.Message.Should().Contain(path);
                refused++;
            }
        }

        refused.Should().BeGreaterThan(1000);
        opened.Should().BeGreaterThan(10, "some changes are harmless");
    }

    [Fact]
    public void WhatIsWrittenIsReadBackAlignedAndSorted()
    {
        string path = Path.Combine(_directory, "ours.safetensors");
        TensorToWrite[] tensors =
        [
            Tensor("z.bytes", ElementType.U8, [5], 5), Tensor("b.half", ElementType.BF16, [3, 1], 6), Tensor("y.float", ElementType.F32, [2, 2], 16),
            Tensor("a.float", ElementType.F32, [1], 4), Tensor("empty", ElementType.F32, [0, 7], 0), Tensor("scalar", ElementType.I64, [], 8), Tensor("ü \"quoted\"", ElementType.F16, [1], 2),
        ];
        using (FileStream stream = File.Create(path)) SafetensorsWriter.Write(stream, tensors, new Dictionary<string, string> { ["tool"] = "test" });
        byte[] bytes = File.ReadAllBytes(path);
        (BitConverter.ToInt64(bytes) % 8).Should().Be(0, "readers map the data as it lies");
        bytes[8].Should().Be((byte)'{');
        using SafetensorsFile file = SafetensorsFile.Open(path);
        file.Header.Metadata.Should().BeEquivalentTo(new Dictionary<string, string> { ["format"] = "pt", ["tool"] = "test" });
        file.Header.Tensors.Values.OrderBy(t => t.Begin).ThenBy(t => t.End).Select(t => t.Name)
            .Should().Equal("scalar", "a.float", "empty", "y.float", "b.half", "ü \"quoted\"", "z.bytes");
        foreach (TensorToWrite tensor in tensors)
        {
            TensorEntry entry = file.Header.Tensors[tensor.Name];
            (entry.Type, entry.Shape.AsSpan().SequenceEqual(tensor.Shape)).Should().Be((tensor.Type, true));
            ((file.Header.DataOffset + entry.Begin) % tensor.Type.Size()).Should().Be(0, "{0} must be aligned", tensor.Name);
            file.Bytes(entry).ToArray().Should().Equal(Content(tensor.Name, (int)tensor.ByteCount));
        }
    }

    [Fact]
    public void TheReferencesOwnFileIsWrittenAgainByteForByte()
    {
        // The adapter was written by the reference library: same tensors, same order, same padding.
        string path = TestData.Path("models", "stories260K", "lora_golden", "adapter_model.safetensors");
        using SafetensorsFile file = SafetensorsFile.Open(path);
        using var ours = new MemoryStream();
        SafetensorsWriter.Write(ours, file.Header.Tensors.Values.Select(t =>
        {
            byte[] content = file.Bytes(t).ToArray();
            return new TensorToWrite(t.Name, t.Type, t.Shape, stream => stream.Write(content));
        }), file.Header.Metadata);
        ours.ToArray().Should().Equal(File.ReadAllBytes(path));
    }

    private static TensorToWrite Tensor(string name, ElementType type, long[] shape, int bytes) => new(name, type, shape, stream => stream.Write(Content(name, bytes)));

    private static byte[] Content(string name, int bytes) => [.. Enumerable.Range(0, bytes).Select(i => (byte)(name.Length * 31 + i))];

    private static byte[] Container(string header, int dataBytes)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return [.. BitConverter.GetBytes((ulong)json.Length), .. json, .. new byte[dataBytes]];
    }

    private string Write(byte[] bytes)
    {
        string path = Path.Combine(_directory, "case.safetensors");
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
