using System.Globalization;
using System.Text;

namespace DoraSharp.Transformers.Tests;

public class UnicodePatternTests
{
    [Fact]
    public void Pieces_LettersAndDigitsAbove64K_AreLettersAndDigits()
    {
        UnicodePattern pattern = UnicodePattern.Of(@"\p{L}+|\p{N}{1,2}");

        // Two Gothic letters and a mathematical one; three mathematical digits; an emoji, which is neither.
        pattern.Pieces("a\U00010330\U00010331\U0001D400𝟎𝟏𝟐😀b").Should().Equal(
            ("a\U00010330\U00010331\U0001D400", true), ("𝟎𝟏", true), ("𝟐", true), ("😀", false), ("b", true));
    }

    [Fact]
    public void Pieces_AnyText_ConcatenateToIt()
    {
        UnicodePattern pattern = UnicodePattern.Of(@"\s+|x*");

        string.Concat(pattern.Pieces("xx 😀\n\uD83Dy  x").Select(piece => piece.Text)).Should().Be("xx 😀\n\uD83Dy  x");
    }

    [Fact]
    public void StandIn_EveryCharacterAbove64K_HasOneOfItsCategory()
    {
        var seen = new HashSet<UnicodeCategory>();
        for (int code = 0x10000; code <= 0x10FFFF; code++)
        {
            UnicodeCategory category = Rune.GetUnicodeCategory(new Rune(code));
            if (seen.Add(category))
            {
                char.GetUnicodeCategory(UnicodePattern.StandIn(new Rune(code))).Should().Be(category);
            }
        }

        seen.Count.Should().BeGreaterThan(15);
    }
}
