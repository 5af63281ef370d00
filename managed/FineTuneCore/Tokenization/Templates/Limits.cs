namespace FineTuneCore.Tokenization.Templates;

/// <summary>What a template may use before it is stopped. Real templates stay far below; a hostile one gets an error rather than the machine.</summary>
internal static class Limits
{
    /// <summary>Characters of one string, of the whole output, or items of one list.</summary>
    public const int Size = 64 * 1024 * 1024;

    /// <summary>Rounds of all loops of one rendering, and evaluated statements.</summary>
    public const int Steps = 2_000_000;

    /// <summary>Macros and recursive loops inside each other.</summary>
    public const int Depth = 64;

    /// <summary>Nesting of blocks and expressions in the source.</summary>
    public const int SourceDepth = 200;

    /// <summary>Items of range(); Jinja's own sandbox has the same.</summary>
    public const int Range = 100_000;

    public static T Checked<T>(long size, Func<T> make) =>
        size <= Size ? make() : throw new TemplateError($"a value of {size} characters or items is over the limit of {Size}");
}
