using System.Text;

namespace FineTuneCore.Tests.Tokenization;

/// <summary>The key-value part of a GGUF file, as far as vocabularies need it.</summary>
internal static class GgufMetadata
{
    public static Dictionary<string, object> Read(string file)
    {
        using var reader = new BinaryReader(File.OpenRead(file));
        if (reader.ReadUInt32() != 0x46554747 || reader.ReadUInt32() < 2)
            throw new InvalidDataException($"{file} is not GGUF of version 2 or later");
        reader.ReadUInt64(); // tensors
        ulong count = reader.ReadUInt64();
        var result = new Dictionary<string, object>();
        for (ulong i = 0; i < count; i++)
        {
            string key = Text(reader);
            result[key] = Value(reader, reader.ReadUInt32());
        }
        return result;
    }

    private static string Text(BinaryReader reader) => Encoding.UTF8.GetString(reader.ReadBytes(checked((int)reader.ReadUInt64())));

    private static object Value(BinaryReader reader, uint type)
    {
        switch (type)
        {
            case 0 or 1 or 7: return reader.ReadByte();
            case 2: return reader.ReadUInt16();
            case 3: return reader.ReadInt16();
            case 4: return reader.ReadUInt32();
            case 5: return reader.ReadInt32();
            case 6: return reader.ReadSingle();
            case 8: return Text(reader);
            case 10: return reader.ReadUInt64();
            case 11: return reader.ReadInt64();
            case 12: return reader.ReadDouble();
            case 9:
                uint item = reader.ReadUInt32();
                return Enumerable.Range(0, checked((int)reader.ReadUInt64())).Select(_ => Value(reader, item)).ToArray();
            default: throw new InvalidDataException($"GGUF value type {type}");
        }
    }
}
