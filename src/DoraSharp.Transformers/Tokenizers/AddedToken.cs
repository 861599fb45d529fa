namespace DoraSharp.Transformers;

/// <summary>A token that is found in the text before anything is split.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text, which is normalized first where <paramref name="IsNormalized"/> says so.</param>
/// <param name="IsSpecial">Whether decoding may leave it out.</param>
/// <param name="IsNormalized">Whether it is looked for in the normalized text rather than in the text as given.</param>
/// <param name="StripsLeft">Whether it swallows white space before it.</param>
/// <param name="StripsRight">Whether it swallows white space after it.</param>
internal sealed record AddedToken(int Id, string Content, bool IsSpecial, bool IsNormalized, bool StripsLeft, bool StripsRight)
{
    public static AddedToken Read(JsonFields fields)
    {
        if (fields.Flag("single_word", otherwise: false))
        {
            throw new NotSupportedException($"{fields.Source}: added tokens with single_word are not supported.");
        }

        string content = fields.Text("content");
        return new AddedToken(
            fields.Count("id"),
            content.Length > 0 ? content : throw new InvalidDataException($"{fields.Source}: 'content' is empty."),
            fields.Flag("special", otherwise: false),
            fields.Flag("normalized", otherwise: false),
            fields.Flag("lstrip", otherwise: false),
            fields.Flag("rstrip", otherwise: false));
    }
}
