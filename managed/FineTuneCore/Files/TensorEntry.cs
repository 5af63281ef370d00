namespace FineTuneCore.Files;

/// <summary>One tensor of a safetensors header; <see cref="Begin"/> and <see cref="End"/> are bytes within the data section.</summary>
internal sealed record TensorEntry(string Name, ElementType Type, long[] Shape, long Begin, long End)
{
    /// <summary>Bytes of the tensor.</summary>
    internal long ByteCount => End - Begin;

    /// <summary>Elements of the tensor.</summary>
    internal long Count => ByteCount / Type.Size();

    internal string ShapeText => $"[{string.Join(", ", Shape)}]";
}
