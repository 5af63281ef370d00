using FineTuneCore.Tokenization.Engine;

namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>Rewrites a stretch of text before it is cut into pieces.</summary>
internal interface INormalizer
{
    AlignedText Apply(AlignedText text);
}
