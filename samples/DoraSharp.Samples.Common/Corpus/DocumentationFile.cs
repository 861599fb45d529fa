using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace DoraSharp.Samples;

/// <summary>Reads the English of an XML documentation file: what it says about types and members, without markup and code.</summary>
public static class DocumentationFile
{
    private const int ShortestParagraph = 25;

    private static readonly HashSet<string> Prose = new(StringComparer.Ordinal)
    {
        "summary", "remarks", "param", "typeparam", "returns", "value", "exception",
    };

    /// <summary>
    /// One document per documented type of the files, its paragraphs (one a line) in the file's order. A paragraph is
    /// kept where it first occurs: overloads repeat each other.
    /// </summary>
    /// <exception cref="UserException">A file is not an XML documentation file.</exception>
    public static IReadOnlyList<Document> ReadAll(IEnumerable<string> paths)
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        List<Document> documents = [];
        foreach (string path in paths)
        {
            string source = Path.GetFileNameWithoutExtension(path);
            IEnumerable<(string Type, string Paragraph)> fresh = Paragraphs(path).Where(entry => seen.Add(entry.Paragraph));
            documents.AddRange(fresh
                .GroupBy(entry => entry.Type, entry => entry.Paragraph, StringComparer.Ordinal)
                .Select(type => new Document(source, string.Join('\n', type) + "\n")));
        }

        return documents;
    }

    private static IEnumerable<(string Type, string Paragraph)> Paragraphs(string path)
    {
        XDocument file;
        try
        {
            file = XDocument.Load(path);
        }
        catch (XmlException e)
        {
            throw new UserException($"{path} is not an XML documentation file: {e.Message}", e);
        }

        return from member in file.Descendants("member")
               let type = DocumentedName.DeclaringType(member.Attribute("name")?.Value ?? "")
               from element in member.Elements()
               where Prose.Contains(element.Name.LocalName)
               from line in Text(element).Split('\n')
               let paragraph = string.Join(' ', line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
               where paragraph.Length >= ShortestParagraph && paragraph.Contains(' ', StringComparison.Ordinal)
               select (type, paragraph);
    }

    private static string Text(XElement element)
    {
        StringBuilder text = new();
        Append(element, text);
        return text.ToString();
    }

    private static void Append(XElement element, StringBuilder text)
    {
        foreach (XNode node in element.Nodes())
        {
            switch (node)
            {
                case XText words:
                    text.Append(words.Value.Replace('\n', ' '));
                    break;
                case XElement { Name.LocalName: "code" or "example" }:
                    break;
                case XElement { Name.LocalName: "see" or "seealso" } link:
                    text.Append(link.Value is { Length: > 0 } label ? label : Target(link));
                    break;
                case XElement { Name.LocalName: "paramref" or "typeparamref" } parameter:
                    text.Append(parameter.Attribute("name")?.Value);
                    break;
                case XElement { Name.LocalName: "para" or "item" or "list" or "br" or "p" or "li" } block:
                    text.Append('\n');
                    Append(block, text);
                    text.Append('\n');
                    break;
                case XElement { Name.LocalName: "term" } term:
                    Append(term, text);
                    text.Append(": ");
                    break;
                case XElement inline:
                    Append(inline, text);
                    break;
                default:
                    break;
            }
        }
    }

    private static string Target(XElement link) =>
        link.Attribute("cref") is { } reference ? DocumentedName.Readable(reference.Value)
        : (link.Attribute("langword") ?? link.Attribute("href"))?.Value ?? "";
}
