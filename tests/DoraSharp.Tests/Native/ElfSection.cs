namespace DoraSharp.Tests.Native;

/// <summary>The sections of an <see cref="ElfImage"/>, numbered as in its section headers.</summary>
internal enum ElfSection
{
    Strings = 1,
    Symbols,
    SymbolVersions,
    NeededVersions,
    Relocations,
    ShortRelocations,
}
