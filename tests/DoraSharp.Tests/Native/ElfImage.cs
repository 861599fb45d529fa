using System.Buffers.Binary;

namespace DoraSharp.Tests.Native;

/// <summary>A built ELF file, with the places that tests look at or damage.</summary>
internal sealed class ElfImage(byte[] bytes)
{
    /// <summary>The size of a record of the version list, of a dependency as of a version.</summary>
    public const int RecordSize = 16;

    /// <summary>The record of libstdc++.so.6, if <see cref="ElfBuilder.Needed"/> was not changed.</summary>
    public const int DependencyRecord = 3;

    /// <summary>The record of <see cref="ElfBuilder.Version"/>, if <see cref="ElfBuilder.Needed"/> was not changed.</summary>
    public const int VersionRecord = 5;

    public byte[] Bytes { get; set; } = bytes;

    public int Header(ElfSection section) => (int)BinaryPrimitives.ReadUInt64LittleEndian(Bytes.AsSpan(40)) + (64 * (int)section);

    public int Content(ElfSection section) => (int)BinaryPrimitives.ReadUInt64LittleEndian(Bytes.AsSpan(Header(section) + 24));

    /// <summary>The n-th record of the version list; see <see cref="ElfBuilder.Needed"/> for their order.</summary>
    public int Record(int n) => Content(ElfSection.NeededVersions) + (RecordSize * n);

    public void Set16(int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(Bytes.AsSpan(at), value);

    public void Set32(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Bytes.AsSpan(at), value);

    public void Set64(int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Bytes.AsSpan(at), value);
}
