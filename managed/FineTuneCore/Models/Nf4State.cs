using System.Text;
using System.Text.Json;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Models;

/// <summary>The JSON that bitsandbytes stores beside a 4-bit weight.</summary>
internal sealed record Nf4State(long[] Shape, int BlockSize, int NestedBlockSize, float NestedOffset, string DType)
{
    internal static Nf4State Parse(ReadOnlySpan<byte> json, string path, string tensor)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(Encoding.UTF8.GetString(json));
            JsonElement root = document.RootElement;
            string type = root.GetProperty("quant_type").GetString() ?? "";
            if (type != "nf4") throw FineTuneException.Failed($"{path}: tensor '{tensor}' is quantised as {type}, only nf4 is supported.");
            int blockSize = root.GetProperty("blocksize").GetInt32();
            if (blockSize != Nf4Tables.BlockSize)
                throw FineTuneException.Failed($"{path}: tensor '{tensor}' has a blocksize of {blockSize}, only {Nf4Tables.BlockSize} is supported.");
            bool nested = root.TryGetProperty("nested_blocksize", out JsonElement nestedBlockSize);
            return new Nf4State(
                [.. root.GetProperty("shape").EnumerateArray().Select(n => n.GetInt64())], blockSize,
                nested ? nestedBlockSize.GetInt32() : 0,
                // Python prints the fp32 offset as a double; rounding it back gives the same fp32.
                nested ? (float)root.GetProperty("nested_offset").GetDouble() : 0,
                root.GetProperty("dtype").GetString() ?? "float32");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw FineTuneException.Failed($"{path}: the quant_state of tensor '{tensor}' is not what bitsandbytes writes ({e.Message}).", e);
        }
    }

    /// <summary>The bytes bitsandbytes would store, as Python's json.dumps prints them.</summary>
    internal byte[] ToJson()
    {
        string nested = NestedBlockSize == 0 ? ""
            : $", \"nested_blocksize\": {NestedBlockSize}, \"nested_dtype\": \"float32\", \"nested_offset\": {((double)NestedOffset).ToString("R").Replace("E", "e")}";
        return Encoding.UTF8.GetBytes(
            $"{{\"quant_type\": \"nf4\", \"blocksize\": {BlockSize}, \"dtype\": \"{DType}\", \"shape\": [{string.Join(", ", Shape)}]{nested}}}");
    }
}
