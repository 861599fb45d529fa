using System.Text;

namespace DoraSharp.Samples;

/// <summary>Reads text files that users name.</summary>
public static class TextFile
{
    /// <summary>
    /// The text of a file in UTF-8, or in UTF-16 or UTF-32 where a byte order mark says so; the mark is left out.
    /// </summary>
    /// <exception cref="UserException">The path is empty or names no file, or the file can't be read or isn't text.</exception>
    public static string Read(string path)
    {
        if (string.IsNullOrWhiteSpace(path))
        {
            throw new UserException("the path of a text file is empty");
        }

        if (Directory.Exists(path))
        {
            throw new UserException($"'{path}' is a folder, not a text file");
        }

        try
        {
            return Decode(path);
        }
        catch (DecoderFallbackException e)
        {
            throw NotText(path, e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UserException($"'{path}' does not exist", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new UserException($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    private static string Decode(string path)
    {
        using FileStream file = File.OpenRead(path);
        Encoding encoding = DetectEncoding(file);
        using StreamReader reader = new(file, encoding, detectEncodingFromByteOrderMarks: false); // skips encoding's own mark
        string text = reader.ReadToEnd();

        // Valid UTF-8, but only in files that are no text: tokens of it would teach a model nothing.
        return text.Contains('\0', StringComparison.Ordinal) ? throw NotText(path) : text;
    }

    /// <summary>The encoding of the byte order mark, else UTF-8; strict, where the one that StreamReader finds replaces bad bytes.</summary>
    private static Encoding DetectEncoding(FileStream file)
    {
        Span<byte> start = stackalloc byte[4];
        int count = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        file.Position = 0;
        foreach (Encoding encoding in new Encoding[]
        {
            new UTF32Encoding(bigEndian: false, byteOrderMark: true, throwOnInvalidCharacters: true),
            new UTF32Encoding(bigEndian: true, byteOrderMark: true, throwOnInvalidCharacters: true),
            new UnicodeEncoding(bigEndian: false, byteOrderMark: true, throwOnInvalidBytes: true),
            new UnicodeEncoding(bigEndian: true, byteOrderMark: true, throwOnInvalidBytes: true),
        })
        {
            if (start[..count].StartsWith(encoding.Preamble))
            {
                return encoding;
            }
        }

        return new UTF8Encoding(encoderShouldEmitUTF8Identifier: true, throwOnInvalidBytes: true);
    }

    private static UserException NotText(string path, Exception? cause = null) =>
        cause is null ? new UserException($"'{path}' is not UTF-8 text") : new UserException($"'{path}' is not UTF-8 text", cause);
}
