namespace DoraSharp;

/// <summary>What options say of a module.</summary>
internal enum Selection
{
    /// <summary>They do not mean it.</summary>
    Unmatched,

    /// <summary>It is left out although they may mean it: it is excluded, or saved whole.</summary>
    Excluded,

    /// <summary>It is adapted.</summary>
    Matched,
}
