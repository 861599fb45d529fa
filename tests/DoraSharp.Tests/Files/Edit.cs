using System.Globalization;
using System.Text;
using CsCheck;

namespace DoraSharp.Tests.Files;

/// <summary>Damage to a file, made of random edits.</summary>
internal sealed record Edit(EditKind Kind, double Position, int Length, byte Value, string Text)
{
    /// <summary>Edits of all kinds; what they insert is taken from <paramref name="texts"/>.</summary>
    public static Gen<Edit> Any(params string[] texts) => Gen.Select(
        Gen.Enum<EditKind>(), Gen.Double[0, 1], Gen.Int[0, 24], Gen.Byte, Gen.Int[0, texts.Length - 1],
        (kind, position, length, value, text) => new Edit(kind, position, length, value, texts[text]));

    public static byte[] Apply(IEnumerable<Edit> edits, byte[] bytes) =>
        edits.Aggregate(bytes, static (edited, edit) => edit.Apply(edited));

    private byte[] Apply(byte[] bytes)
    {
        int start = (int)(Position * bytes.Length);
        int end = Math.Min(start + Length, bytes.Length);
        return Kind switch
        {
            EditKind.Insert => [.. bytes[..start], .. Encoding.UTF8.GetBytes(Text), .. bytes[start..]],
            EditKind.Delete => [.. bytes[..start], .. bytes[end..]],
            EditKind.Repeat => [.. bytes[..end], .. bytes[start..]],
            EditKind.Truncate => bytes[..start],
            EditKind.ReplaceNumber => ReplaceNumber(bytes, start),
            _ when start == bytes.Length => bytes,
            EditKind.FlipBit => [.. bytes[..start], (byte)(bytes[start] ^ (1 << (Value % 8))), .. bytes[(start + 1)..]],
            _ => [.. bytes[..start], Value, .. bytes[(start + 1)..]],
        };
    }

    private byte[] ReplaceNumber(byte[] bytes, int from)
    {
        int start = Array.FindIndex(bytes, from, static value => value is >= (byte)'0' and <= (byte)'9');
        if (start < 0)
        {
            return bytes;
        }

        int end = start;
        while (end < bytes.Length && bytes[end] is >= (byte)'0' and <= (byte)'9')
        {
            end++;
        }

        string number = Length % 3 == 0 ? Value.ToString(CultureInfo.InvariantCulture) : Text;
        return [.. bytes[..start], .. Encoding.UTF8.GetBytes(number), .. bytes[end..]];
    }
}
