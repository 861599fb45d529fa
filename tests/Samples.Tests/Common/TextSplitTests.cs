namespace DoraSharp.Samples.Common;

public class TextSplitTests
{
    [Fact]
    public void HoldOut_SeveralDocumentsOfASource_TakesTheLastOnesOfEach()
    {
        Document[] documents =
        [
            .. Enumerable.Range(0, 10).Select(i => new Document("a", $"document {i}\n")),
            .. Enumerable.Range(0, 20).Select(i => new Document("b", $"document {i % 10}\n")),
        ];

        TextSplit split = TextSplit.HoldOut(documents, 0.2);

        split.Training.Should().Equal(documents[..8].Concat(documents[10..26]));
        split.HeldOut.Should().Equal(documents[8..10].Concat(documents[26..]));
    }

    [Fact]
    public void HoldOut_OneDocument_IsCutAtALine()
    {
        string text = string.Concat(Enumerable.Range(0, 100).Select(i => $"line {i:D2} of the text\n"));

        TextSplit split = TextSplit.HoldOut([new Document("file", text)], 0.1);

        split.HeldOut.Single().Text.Should().StartWith("line ");
        split.HeldOut.Single().Text.Length.Should().BeInRange(text.Length / 12, text.Length / 10);
        (split.Training.Single().Text + split.HeldOut.Single().Text).Should().Be(text);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(103)]
    [InlineData(1117)]
    public void HoldOut_OneLongLine_IsCutInIt(int length)
    {
        TextSplit split = TextSplit.HoldOut([new Document("file", new string('a', length))], 0.1);

        split.Training.Single().Text.Should().HaveLength(length * 9 / 10);
        split.HeldOut.Single().Text.Should().HaveLength(length - (length * 9 / 10));
    }

    [Fact]
    public void HoldOut_OneLongLineOfEmoji_KeepsPairsTogether()
    {
        string text = string.Concat(Enumerable.Repeat("😀", 51));

        TextSplit split = TextSplit.HoldOut([new Document("file", text)], 0.5);

        (split.Training.Single().Text + split.HeldOut.Single().Text).Should().Be(text);
        char.IsLowSurrogate(split.HeldOut.Single().Text[0]).Should().BeFalse();
    }

    [Fact]
    public void HoldOut_LineBreakFarAway_IsCutAtTheWordBefore()
    {
        string text = string.Concat(Enumerable.Repeat("seven characters ", 600)) + "\n";

        TextSplit split = TextSplit.HoldOut([new Document("file", text)], 0.1);

        split.Training.Single().Text.Should().EndWith(" ");
        split.HeldOut.Single().Text.Length.Should().BeInRange(text.Length / 10, (text.Length / 10) + 17);
        (split.Training.Single().Text + split.HeldOut.Single().Text).Should().Be(text);
    }

    [Fact]
    public void HoldOut_LongParagraphs_IsCutAtTheBeginningOfOne()
    {
        string text = string.Concat(Enumerable.Repeat(new string('a', 499) + "\n", 13));

        TextSplit split = TextSplit.HoldOut([new Document("file", text)], 0.1);

        split.Training.Single().Text.Should().HaveLength(5500);
        split.HeldOut.Single().Text.Should().HaveLength(1000);
    }

    [Fact]
    public void HoldOut_OneCharacter_LosesNothing()
    {
        TextSplit split = TextSplit.HoldOut([new Document("file", "a")], 0.1);

        split.Training.Concat(split.HeldOut).Single().Text.Should().Be("a");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(double.NaN)]
    public void HoldOut_NoProperFraction_IsRefused(double fraction)
    {
        Action split = () => TextSplit.HoldOut([new Document("file", "text")], fraction);

        split.Should().Throw<ArgumentOutOfRangeException>();
    }
}
