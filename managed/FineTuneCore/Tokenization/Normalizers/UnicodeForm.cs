namespace FineTuneCore.Tokenization.Normalizers;

/// <summary>The four normalisation forms of Unicode Standard Annex 15.</summary>
internal enum UnicodeForm
{
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}
