namespace DoraSharp;

/// <summary>An entry of the options that meant nothing in the model.</summary>
/// <param name="Field">The property of the options.</param>
/// <param name="Entry">The entry.</param>
internal sealed record UnmatchedEntry(string Field, string Entry)
{
    /// <summary>For reports: <c>TargetModules: 'q_porj'</c>.</summary>
    public override string ToString() => $"{Field}: '{Entry}'";
}
