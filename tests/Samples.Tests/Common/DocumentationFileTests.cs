namespace DoraSharp.Samples.Common;

public class DocumentationFileTests
{
    private const string Example = """
        <?xml version="1.0"?>
        <doc>
          <assembly><name>Zoo</name></assembly>
          <members>
            <member name="T:Zoo.Lion">
              <summary>A large cat   that lives
                in groups.</summary>
              <remarks><para>It sleeps for most of the day.</para><para>Compare it with <see cref="T:Zoo.Cage`1" /> and <see langword="null" />.</para>
                <code>var lion = new Lion();</code></remarks>
            </member>
            <member name="M:Zoo.Lion.Feed(System.Int32,System.Collections.Generic.List{System.String})">
              <param name="kilograms">How much to feed, given as <paramref name="kilograms" /> of meat.</param>
              <returns>See <see cref="M:Zoo.Lion.Feed(System.Int32)" /> and <see cref="M:Zoo.Lion.#ctor" />, <a href="x">a page of advice</a>.</returns>
              <exception cref="T:System.Exception">The lion isn't hungry &amp; sleeps.</exception>
            </member>
            <member name="M:Zoo.Lion.Feed">
              <summary>A large cat that lives in groups.</summary>
              <returns>meat</returns>
            </member>
            <member name="P:Zoo.Cage`1.Guest">
              <value>Whoever lives in the cage at the moment.</value>
              <inheritdoc />
            </member>
          </members>
        </doc>
        """;

    [Fact]
    public void ReadAll_MarkupAndNames_BecomePlainParagraphsOfEachType()
    {
        using TemporaryFolder folder = new();

        IReadOnlyList<Document> documents = DocumentationFile.ReadAll([folder.Write("Zoo.xml", Example)]);

        documents.Should().Equal(
            new Document("Zoo", """
                A large cat that lives in groups.
                It sleeps for most of the day.
                Compare it with Cage and null.
                How much to feed, given as kilograms of meat.
                See Lion.Feed and Lion, a page of advice.
                The lion isn't hungry & sleeps.

                """),
            new Document("Zoo", "Whoever lives in the cage at the moment.\n"));
    }

    [Fact]
    public void ReadAll_ParagraphInTwoFiles_IsKeptInTheFirst()
    {
        using TemporaryFolder folder = new();
        string first = folder.Write("A.xml", Summary("T:A", "This sentence stands in two files."));
        string second = folder.Write("B.xml", Summary("T:B", "This sentence stands in two files.", "This one stands in the second only."));

        DocumentationFile.ReadAll([first, second]).Should().Equal(
            new Document("A", "This sentence stands in two files.\n"),
            new Document("B", "This one stands in the second only.\n"));
    }

    [Fact]
    public void ReadAll_NoXml_NamesTheFile()
    {
        using TemporaryFolder folder = new();
        string path = folder.Write("broken.xml", "<doc><members>");

        Action read = () => DocumentationFile.ReadAll([path]);

        read.Should().Throw<UserException>().WithMessage($"{path} is not an XML documentation file*");
    }

    [Theory]
    [InlineData("T:System.Collections.Generic.List`1", "List", "System.Collections.Generic.List")]
    [InlineData("M:System.Collections.Generic.List`1.Add(`0)", "List.Add", "System.Collections.Generic.List")]
    [InlineData("M:System.Linq.Enumerable.Select``2(System.Collections.Generic.IEnumerable{``0},System.Func{``0,``1})", "Enumerable.Select", "System.Linq.Enumerable")]
    [InlineData("M:System.String.#ctor(System.Char[])", "String", "System.String")]
    [InlineData("P:System.DateTime.Kind", "DateTime.Kind", "System.DateTime")]
    [InlineData("N:System.IO", "IO", "System")]
    [InlineData("Lonely", "Lonely", "")]
    [InlineData("", "", "")]
    public void DocumentedName_Identifier_IsShortAndReadable(string id, string readable, string type)
    {
        DocumentedName.Readable(id).Should().Be(readable);
        DocumentedName.DeclaringType(id).Should().Be(type);
    }

    private static string Summary(string member, params string[] paragraphs) =>
        $"<doc><members><member name=\"{member}\"><remarks>{string.Concat(paragraphs.Select(p => $"<para>{p}</para>"))}</remarks></member></members></doc>";
}
