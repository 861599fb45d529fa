namespace DoraSharp.Transformers;

/// <summary>Splits a text into the pieces that are encoded one by one.</summary>
/// <param name="text">The normalized text between two added tokens, never empty.</param>
/// <param name="isStart">Whether it is the start of the whole text.</param>
internal delegate IEnumerable<string> PreTokenizer(string text, bool isStart);
