// MSBuild compiles this file by itself (RoslynCodeTaskFactory), against .NET Standard 2.0: no spans, no implicit usings, and
// all types in one file. The tests compile it too.
#nullable enable
#pragma warning disable IDE0005 // The usings that the tests have implicitly.
using System;
using System.IO;
using System.Text;
using Microsoft.Build.Framework;

namespace DoraSharp.Build;

/// <summary>
/// Copies an ELF shared library and marks one symbol version that it asks for as weak, so that the dynamic loader accepts
/// a dependency which does not define that version. One bit of the copy differs from the source.
/// </summary>
/// <remarks>
/// This is right only while nothing is bound to that version at run time. A file whose relocations refer to a symbol of the
/// version is refused, and so is one that is damaged in any part that is read.
/// </remarks>
public sealed class WeakenSymbolVersion : ITask
{
    /// <inheritdoc/>
    public IBuildEngine BuildEngine { get; set; } = null!;

    /// <inheritdoc/>
    public ITaskHost? HostObject { get; set; }

    /// <summary>The shared library to read.</summary>
    [Required]
    public string Source { get; set; } = "";

    /// <summary>The file to write; it is identical to the source if that does not ask for the version, or only weakly.</summary>
    [Required]
    public string Destination { get; set; } = "";

    /// <summary>The symbol version, for example <c>GLIBCXX_3.4.32</c>.</summary>
    [Required]
    public string SymbolVersion { get; set; } = "";

    /// <inheritdoc/>
    public bool Execute()
    {
        try
        {
            byte[] file = File.ReadAllBytes(Source);
            Weakening outcome = Weaken(file, SymbolVersion);
            Write(file);
            BuildEngine.LogMessageEvent(new BuildMessageEventArgs(
                $"{SymbolVersion} in {Source}: {outcome} -> {Destination}", "", nameof(WeakenSymbolVersion), MessageImportance.Low));
            return true;
        }
        catch (Exception error) when (error is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            BuildEngine.LogErrorEvent(new BuildErrorEventArgs(
                "",
                "DORASHARP001",
                Source,
                0,
                0,
                0,
                0,
                $"The symbol version {SymbolVersion} cannot be made weak: {error.Message} "
                + "Set the property DoraSharpPatchLibTorchSharp to 'never' to use the file as it is.",
                "",
                nameof(WeakenSymbolVersion)));
            return false;
        }
    }

    /// <summary>Sets the weak flag of the one entry that asks for <paramref name="version"/>, after everything was checked.</summary>
    /// <param name="file">A whole ELF64 little-endian shared library; unchanged unless the result is <see cref="Weakening.Weakened"/>.</param>
    /// <param name="version">The name of the symbol version.</param>
    /// <exception cref="InvalidDataException">The file is no such library, is damaged, or really uses a symbol of the version.</exception>
    internal static Weakening Weaken(byte[] file, string version)
    {
        var elf = new ElfLibrary(file);
        if (elf.FindNeededVersion(version) is not { } needed)
        {
            return Weakening.NotNeeded;
        }

        const byte weak = 2; // VER_FLG_WEAK
        if ((file[needed.FlagsOffset] & weak) != 0)
        {
            return Weakening.AlreadyWeak;
        }

        elf.RequireUnused(needed, version);
        file[needed.FlagsOffset] |= weak;
        return Weakening.Weakened;
    }

    private void Write(byte[] file)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(Destination))!;
        Directory.CreateDirectory(folder);
        string temporary = Path.Combine(folder, Guid.NewGuid().ToString("N") + ".tmp");
        try
        {
            File.WriteAllBytes(temporary, file);
            if (File.Exists(Destination))
            {
                File.Replace(temporary, Destination, null);
            }
            else
            {
                File.Move(temporary, Destination);
            }
        }
        finally
        {
            File.Delete(temporary);
        }
    }
}

/// <summary>What was done to a library.</summary>
internal enum Weakening
{
    /// <summary>It does not ask for the version: left as it is.</summary>
    NotNeeded,

    /// <summary>It asks for the version weakly: left as it is.</summary>
    AlreadyWeak,

    /// <summary>The weak flag was set.</summary>
    Weakened,
}

/// <summary>The parts of an ELF64 little-endian shared library that tell which symbol versions it needs, and for what.</summary>
internal sealed class ElfLibrary
{
    private const uint StringTable = 3;
    private const uint RelocationsWithAddends = 4;
    private const uint Relocations = 9;
    private const uint DynamicSymbols = 11;
    private const uint NeededVersions = 0x6ffffffe;
    private const uint SymbolVersions = 0x6fffffff;
    private const int HeaderSize = 64;
    private const int SectionHeaderSize = 64;
    private const int SymbolSize = 24;
    private const int VersionRecordSize = 16; // of Elf64_Verneed (one per dependency) and of its Elf64_Vernaux (one per version)

    private readonly byte[] _file;
    private readonly Section[] _sections;

    public ElfLibrary(byte[] file)
    {
        _file = file;
        Require(file.Length >= HeaderSize && U32(0) == 0x464c457f, "it is not an ELF file.");
        Require(file[4] == 2 && file[5] == 1 && file[6] == 1, "it is not a 64-bit little-endian ELF file.");
        Require(U16(16) == 3, "it is not a shared library.");

        ulong table = U64(40);
        int count = U16(60);
        Require(table != 0 && count != 0, "it has no section headers.");
        Require(U16(58) == SectionHeaderSize, "its section headers have an unknown size.");
        RequireInside(table, (ulong)count * SectionHeaderSize, (ulong)file.Length, "section headers");

        _sections = new Section[count];
        for (int i = 0; i < count; i++)
        {
            int at = (int)table + (i * SectionHeaderSize);
            _sections[i] = new Section(i, U32(at + 4), U64(at + 24), U64(at + 32), U32(at + 40), U32(at + 44), U64(at + 56));
        }
    }

    /// <summary>The only entry for <paramref name="version"/> among the needed versions, or null if there is none.</summary>
    public NeededVersion? FindNeededVersion(string version)
    {
        if (FindOnly(NeededVersions) is not { } list)
        {
            return null;
        }

        Require(list.Link < _sections.Length, "its version list refers to a section that does not exist.");
        Section names = _sections[list.Link];
        Require(names.Type == StringTable, "its version list has no string table.");
        RequireInside(names);

        NeededVersion? found = null;
        bool[] claimed = new bool[list.Size];
        long at = 0;
        for (uint i = 0; i < list.Info; i++)
        {
            int dependency = Claim(list, claimed, at);
            int versions = U16(dependency + 2);
            Require(U16(dependency) == 1 && versions > 0, "its version list has an unknown format.");
            ReadString(names, U32(dependency + 4));

            long versionAt = at + U32(dependency + 8);
            for (int j = 0; j < versions; j++)
            {
                int entry = Claim(list, claimed, versionAt);
                string name = ReadString(names, U32(entry + 8));
                if (name == version)
                {
                    Require(found is null, $"it asks for {version} twice.");
                    Require(U32(entry) == Hash(version), $"its hash of {version} is wrong.");
                    found = new NeededVersion(flagsOffset: entry + 4, index: U16(entry + 6) & 0x7fff);
                    Require(found.Value.Index > 1, $"its index of {version} is a reserved one.");
                }

                versionAt = Next(versionAt, U32(entry + 12), isLast: j == versions - 1);
            }

            at = Next(at, U32(dependency + 12), isLast: i == list.Info - 1);
        }

        return found;
    }

    /// <summary>Throws if a relocation refers to a symbol of the version, which then is needed for more than the list's sake.</summary>
    public void RequireUnused(NeededVersion needed, string version)
    {
        Section? foundSymbols = FindOnly(DynamicSymbols);
        Section? foundVersions = FindOnly(SymbolVersions);
        Require(foundSymbols is not null && foundVersions is not null, "it has no versions of dynamic symbols.");
        Section symbols = foundSymbols!.Value;
        Section versions = foundVersions!.Value;
        ulong count = symbols.Size / SymbolSize;
        Require(symbols.EntrySize == SymbolSize && symbols.Size % SymbolSize == 0, "its dynamic symbols have an unknown size.");
        Require(versions.Link == symbols.Index && versions.Size == count * 2, "its symbol versions do not match its dynamic symbols.");

        foreach (Section section in _sections)
        {
            if (section.Type is not (RelocationsWithAddends or Relocations) || section.Link != symbols.Index)
            {
                continue;
            }

            int size = section.Type == Relocations ? 16 : 24;
            RequireInside(section);
            Require(section.EntrySize == (ulong)size && section.Size % (ulong)size == 0, "its relocations have an unknown size.");
            int end = (int)(section.Offset + section.Size);
            for (int at = (int)section.Offset; at < end; at += size)
            {
                uint symbol = U32(at + 12); // the upper half of r_info
                Require(symbol < count, "a relocation refers to a symbol that does not exist.");
                Require((U16((int)versions.Offset + (2 * (int)symbol)) & 0x7fff) != needed.Index, $"a symbol of {version} is really used.");
            }
        }
    }

    /// <summary>The section of this type, checked to lie inside of the file, or null; several are refused.</summary>
    private Section? FindOnly(uint type)
    {
        Section[] found = Array.FindAll(_sections, section => section.Type == type);
        Require(found.Length <= 1, $"it has several sections of the type 0x{type:x}.");
        if (found.Length == 0)
        {
            return null;
        }

        RequireInside(found[0]);
        return found[0];
    }

    /// <summary>The file offset of the record at this place of the version list; no two records may share a byte, hence no chain can loop.</summary>
    private static int Claim(Section list, bool[] claimed, long at)
    {
        Require(at + VersionRecordSize <= claimed.Length, "its version list leads outside of its section.");
        for (long i = at; i < at + VersionRecordSize; i++)
        {
            Require(!claimed[i], "its version list runs into itself.");
            claimed[i] = true;
        }

        return (int)(list.Offset + (ulong)at);
    }

    private static long Next(long at, uint step, bool isLast)
    {
        Require(isLast == (step == 0), "its version list is not as long as it says.");
        return at + step;
    }

    private string ReadString(Section strings, uint offset)
    {
        Require(offset < strings.Size, "a name lies outside of its string table.");
        int start = (int)strings.Offset + (int)offset;
        int end = Array.IndexOf(_file, (byte)0, start, (int)strings.Size - (int)offset);
        Require(end >= 0, "a name has no end in its string table.");
        return Encoding.ASCII.GetString(_file, start, end - start);
    }

    /// <summary>The hash function of the System V ABI.</summary>
    private static uint Hash(string name)
    {
        uint hash = 0;
        foreach (char letter in name)
        {
            hash = (hash << 4) + letter;
            uint high = hash & 0xf0000000;
            hash = (hash ^ (high >> 24)) & ~high;
        }

        return hash;
    }

    private void RequireInside(Section section) => RequireInside(section.Offset, section.Size, (ulong)_file.Length, $"section {section.Index}");

    private static void RequireInside(ulong offset, ulong size, ulong whole, string what) =>
        Require(offset <= whole && size <= whole - offset, $"its {what} would lie outside of the file.");

    private static void Require(bool holds, string otherwise)
    {
        if (!holds)
        {
            throw new InvalidDataException(otherwise);
        }
    }

    private int U16(int at) => _file[at] | (_file[at + 1] << 8);

    private uint U32(int at) => (uint)(U16(at) | (U16(at + 2) << 16));

    private ulong U64(int at) => U32(at) | ((ulong)U32(at + 4) << 32);

    private readonly struct Section(int index, uint type, ulong offset, ulong size, uint link, uint info, ulong entrySize)
    {
        public int Index { get; } = index;

        public uint Type { get; } = type;

        public ulong Offset { get; } = offset;

        public ulong Size { get; } = size;

        public uint Link { get; } = link;

        public uint Info { get; } = info;

        public ulong EntrySize { get; } = entrySize;
    }
}

/// <summary>Where a library asks for a symbol version.</summary>
internal readonly struct NeededVersion(int flagsOffset, int index)
{
    /// <summary>The place in the file of the entry's flags (two bytes).</summary>
    public int FlagsOffset { get; } = flagsOffset;

    /// <summary>The number by which the library's symbols refer to the version.</summary>
    public int Index { get; } = index;
}
