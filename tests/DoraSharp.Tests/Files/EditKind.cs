namespace DoraSharp.Tests.Files;

internal enum EditKind
{
    SetByte,
    FlipBit,
    Insert,
    Delete,
    Repeat,
    Truncate,
    ReplaceNumber,
}
