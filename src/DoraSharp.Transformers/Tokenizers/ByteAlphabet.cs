using System.Text;

namespace DoraSharp.Transformers;

/// <summary>GPT-2's alphabet: a printable character for each of the 256 bytes.</summary>
internal static class ByteAlphabet
{
    private static readonly char[] Characters = Build();
    private static readonly Dictionary<char, byte> Bytes = Characters.Select((character, value) => (character, value)).ToDictionary(pair => pair.character, pair => (byte)pair.value);

    /// <summary>The UTF-8 bytes of a text, a character each.</summary>
    public static string Encode(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return string.Create(bytes.Length, bytes, static (span, source) =>
        {
            for (int i = 0; i < span.Length; i++)
            {
                span[i] = Characters[source[i]];
            }
        });
    }

    /// <summary>The text whose bytes the tokens spell; bytes that are no UTF-8 become U+FFFD, tokens outside the alphabet stand for themselves.</summary>
    public static string Decode(IEnumerable<string> tokens)
    {
        var bytes = new List<byte>();
        foreach (string token in tokens)
        {
            bytes.AddRange(token.All(Bytes.ContainsKey) ? token.Select(character => Bytes[character]) : Encoding.UTF8.GetBytes(token));
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }

    private static char[] Build()
    {
        var characters = new char[256];
        int moved = 0;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            characters[value] = printable ? (char)value : (char)(256 + moved++);
        }

        return characters;
    }
}
