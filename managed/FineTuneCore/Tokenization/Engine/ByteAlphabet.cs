namespace FineTuneCore.Tokenization.Engine;

/// <summary>
/// GPT-2's printable alphabet for bytes: printable Latin-1 bytes stand for themselves, the others for the code points from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] s_toCharacter = new char[256];
    private static readonly short[] s_toByte = new short[0x200];

    static ByteAlphabet()
    {
        Array.Fill(s_toByte, (short)-1);
        int next = 0x100;
        for (int b = 0; b < 256; b++)
        {
            bool printable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            s_toCharacter[b] = (char)(printable ? b : next++);
            s_toByte[s_toCharacter[b]] = (short)b;
        }
    }

    public static char ToCharacter(byte value) => s_toCharacter[value];

    /// <summary>The byte a character stands for, or -1.</summary>
    public static int ToByte(char character) => character < s_toByte.Length ? s_toByte[character] : -1;
}
