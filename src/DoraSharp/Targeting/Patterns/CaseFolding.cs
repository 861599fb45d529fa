using System.Text;

namespace DoraSharp;

/// <summary>Python's simple case folding: two characters are the same when they fold to one. It knows no culture.</summary>
internal static class CaseFolding
{
    private const int End = 0x20000;

    // Characters whose lower or upper case is a letter of another script's block; .NET maps some of them to themselves.
    private static readonly Dictionary<int, int> Special = new()
    {
        ['\u0130'] = 'i',
        ['\u0131'] = 'i',
        ['\u017f'] = 's',
        ['\u212a'] = 'k',
        ['\u212b'] = '\u00e5',
        ['\u00b5'] = '\u03bc',
        ['\u1e9e'] = '\u00df',
    };

    private static readonly Lazy<ILookup<int, int>> ByFold = new(() =>
        Enumerable.Range(0, End).Where(static point => Fold(point) != point).ToLookup(Fold));

    /// <summary>The character that stands for all its cases.</summary>
    public static int Fold(int point)
    {
        if (Special.TryGetValue(point, out int special))
        {
            return special;
        }

        return Rune.TryCreate(point, out Rune rune) ? Rune.ToLowerInvariant(Rune.ToUpperInvariant(rune)).Value : point;
    }

    /// <summary>The character that stands for both cases of an ASCII letter; every other is itself.</summary>
    public static int FoldAscii(int point) => point is >= 'A' and <= 'Z' ? point + ('a' - 'A') : point;

    /// <summary>All characters that fold to what this one folds to.</summary>
    public static IEnumerable<int> Variants(int point)
    {
        int fold = Fold(point);
        return ByFold.Value[fold].Prepend(fold);
    }

    /// <summary>Both cases of an ASCII letter; every other character alone.</summary>
    public static IEnumerable<int> AsciiVariants(int point)
    {
        int fold = FoldAscii(point);
        return fold is >= 'a' and <= 'z' ? [fold, fold - ('a' - 'A')] : [fold];
    }
}
