using System.Text;

namespace DoraSharp.Samples.Pretrain;

/// <summary>
/// The printable stand-ins of byte-level BPE (GPT-2): printable Latin-1 bytes stand for themselves, the other 68 for the
/// characters from U+0100 on, so that any text becomes a string without blanks and control characters.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Symbols = Build();

    /// <summary>The stand-in of each byte, in the order of the bytes.</summary>
    public static IReadOnlyList<char> All => Symbols;

    /// <summary>The stand-ins of the text's UTF-8 bytes.</summary>
    public static string Encode(string text) => string.Concat(Encoding.UTF8.GetBytes(text).Select(value => Symbols[value]));

    private static char[] Build()
    {
        char[] symbols = new char[256];
        char next = 'Ā';
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is >= '!' and <= '~' or >= '¡' and <= '¬' or >= '®' and <= 'ÿ';
            symbols[value] = printable ? (char)value : next++;
        }

        return symbols;
    }
}
