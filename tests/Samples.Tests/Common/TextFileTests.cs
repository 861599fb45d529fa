using System.Text;

namespace DoraSharp.Samples.Common;

public sealed class TextFileTests : IDisposable
{
    private const string Story = "Élan — 東京 😀\nnext line\n";

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("utf-8", false)]
    [InlineData("utf-8", true)]
    [InlineData("utf-16", true)]
    [InlineData("utf-16BE", true)]
    [InlineData("utf-32", true)]
    [InlineData("utf-32BE", true)]
    public void Read_TextInAnEncodingThatCanBeTold_IsReadWithoutItsMark(string encoding, bool mark)
    {
        Encoding writer = Encoding.GetEncoding(encoding);

        TextFile.Read(Write([.. mark ? writer.GetPreamble() : [], .. writer.GetBytes(Story)])).Should().Be(Story);
    }

    [Theory]
    [InlineData(new byte[] { (byte)'c', (byte)'a', (byte)'f', 0xE9, (byte)'\n' })]
    [InlineData(new byte[] { 0xEF, 0xBB, 0xBF, (byte)'a', 0xC3 })]
    [InlineData(new byte[] { 0xFF, 0xFE, 0x00, 0xD8, (byte)'a', 0x00 })]
    [InlineData(new byte[] { (byte)'P', (byte)'K', 0x03, 0x00, 0x00 })]
    public void Read_BytesThatAreNoText_AreRefusedInOneLine(byte[] bytes)
    {
        string path = Write(bytes);

        Reading(path).Should().Throw<UserException>().WithMessage($"'{path}' is not UTF-8 text");
    }

    [Fact]
    public void Read_MissingFile_SaysSo()
    {
        string path = Path.Combine(folder.Path, "none", "story.txt");

        Reading(path).Should().Throw<UserException>().WithMessage($"'{path}' does not exist");
    }

    [Fact]
    public void Read_Folder_SaysSo() =>
        Reading(folder.Path).Should().Throw<UserException>().WithMessage($"'{folder.Path}' is a folder, not a text file");

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    public void Read_EmptyPath_SaysSo(string path) =>
        Reading(path).Should().Throw<UserException>().WithMessage("*path*empty*");

    [Fact]
    public void Read_FileThatCannotBeOpened_SaysWhy()
    {
        string path = Write([(byte)'a']);
        using FileStream locked = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);

        Reading(path).Should().Throw<UserException>().WithMessage($"'{path}' cannot be read: *");
    }

    [Fact]
    public void Read_PathWithANul_SaysWhy() =>
        Reading("story\0.txt").Should().Throw<UserException>();

    private static Func<string> Reading(string path) => () => TextFile.Read(path);

    private string Write(byte[] bytes)
    {
        string path = Path.Combine(folder.Path, "story.txt");
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
