namespace DoraSharp.Samples;

/// <summary>One text that belongs together: a type's documentation, or a whole text file.</summary>
/// <param name="Source">Where it comes from: the name of an assembly or of a file.</param>
/// <param name="Text">The text, in lines.</param>
public sealed record Document(string Source, string Text);
