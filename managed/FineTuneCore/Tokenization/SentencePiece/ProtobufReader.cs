using System.Buffers.Binary;

namespace FineTuneCore.Tokenization.SentencePiece;

/// <summary>Walks the fields of one protobuf message.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> data)
{
    private readonly ReadOnlySpan<byte> _data = data;
    private int _position;

    /// <summary>Number of the field that was read last.</summary>
    public int Field { get; private set; }

    /// <summary>Value of a number field.</summary>
    public ulong Number { get; private set; }

    /// <summary>Content of a field with length: a string, bytes or a message.</summary>
    public ReadOnlySpan<byte> Bytes { get; private set; }

    public readonly float Float => BitConverter.UInt32BitsToSingle((uint)Number);

    /// <summary>Reads the next field; false at the end.</summary>
    /// <exception cref="FormatException">The message is cut short or not protobuf.</exception>
    public bool Next()
    {
        if (_position == _data.Length)
            return false;
        ulong tag = Varint();
        Field = (int)(tag >> 3);
        Bytes = default;
        Number = 0;
        switch (tag & 7)
        {
            case 0:
                Number = Varint();
                break;
            case 1:
                Number = BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
                break;
            case 2:
                ulong length = Varint();
                Bytes = Take(length > int.MaxValue ? int.MaxValue : (int)length);
                break;
            case 5:
                Number = BinaryPrimitives.ReadUInt32LittleEndian(Take(4));
                break;
            default:
                throw new FormatException($"byte {_position} begins a field of unknown wire type {tag & 7}");
        }
        return true;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte b = Take(1)[0];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
                return value;
        }
        throw new FormatException($"byte {_position} ends a number of more than 64 bits");
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _data.Length - _position)
            throw new FormatException($"{count} bytes are expected at byte {_position}, {_data.Length - _position} are left");
        ReadOnlySpan<byte> part = _data.Slice(_position, count);
        _position += count;
        return part;
    }
}
