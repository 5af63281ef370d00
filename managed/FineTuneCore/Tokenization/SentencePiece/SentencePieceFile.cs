using System.Text;
namespace FineTuneCore.Tokenization.SentencePiece;

/// <summary>What a piece is for, by the numbers of sentencepiece_model.proto.</summary>
internal enum PieceType
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// <summary>One entry of the vocabulary; its index is its id.</summary>
internal readonly record struct SentencePiece(string Text, float Score, PieceType Type);

/// <summary>The parts of sentencepiece_model.proto that encoding needs.</summary>
internal sealed class SentencePieceFile
{
    public List<SentencePiece> Pieces { get; } = [];

    /// <summary>1 unigram, 2 BPE, 3 word, 4 character.</summary>
    public int ModelType { get; private set; } = 1;

    public bool ByteFallback { get; private set; }

    public bool TreatWhitespaceAsSuffix { get; private set; }

    public byte[] Charsmap { get; private set; } = [];

    public bool AddDummyPrefix { get; private set; } = true;

    public bool RemoveExtraWhitespaces { get; private set; } = true;

    public bool EscapeWhitespaces { get; private set; } = true;

    /// <exception cref="FormatException">The bytes are not such a file.</exception>
    public static SentencePieceFile Parse(ReadOnlySpan<byte> data)
    {
        var file = new SentencePieceFile();
        var reader = new ProtobufReader(data);
        while (reader.Next())
        {
            if (reader.Field == 1)
                file.Pieces.Add(Piece(reader.Bytes));
            else if (reader.Field == 2)
                file.ReadTrainer(reader.Bytes);
            else if (reader.Field == 3)
                file.ReadNormalizer(reader.Bytes);
        }
        if (file.Pieces.Count == 0)
            throw new FormatException("it has no pieces");
        return file;
    }

    private static SentencePiece Piece(ReadOnlySpan<byte> data)
    {
        string text = "";
        float score = 0;
        var type = PieceType.Normal;
        var reader = new ProtobufReader(data);
        while (reader.Next())
        {
            if (reader.Field == 1)
                text = Encoding.UTF8.GetString(reader.Bytes);
            else if (reader.Field == 2)
                score = reader.Float;
            else if (reader.Field == 3)
                type = (PieceType)reader.Number;
        }
        return new SentencePiece(text, score, type);
    }

    private void ReadTrainer(ReadOnlySpan<byte> data)
    {
        var reader = new ProtobufReader(data);
        while (reader.Next())
        {
            if (reader.Field == 3)
                ModelType = (int)reader.Number;
            else if (reader.Field == 24)
                TreatWhitespaceAsSuffix = reader.Number != 0;
            else if (reader.Field == 35)
                ByteFallback = reader.Number != 0;
        }
    }

    private void ReadNormalizer(ReadOnlySpan<byte> data)
    {
        var reader = new ProtobufReader(data);
        while (reader.Next())
        {
            if (reader.Field == 2)
                Charsmap = reader.Bytes.ToArray();
            else if (reader.Field == 3)
                AddDummyPrefix = reader.Number != 0;
            else if (reader.Field == 4)
                RemoveExtraWhitespaces = reader.Number != 0;
            else if (reader.Field == 5)
                EscapeWhitespaces = reader.Number != 0;
        }
    }
}
