using System.Text;

namespace DoraSharp.Tests.Native;

/// <summary>Builds the smallest ELF64 shared library that has what a dynamic loader reads about symbol versions.</summary>
internal sealed class ElfBuilder
{
    /// <summary>The version that the tests weaken.</summary>
    public const string Version = "GLIBCXX_3.4.32";

    private const int HeaderSize = 64;

    /// <summary>The dependencies and the versions that each must define.</summary>
    public IReadOnlyList<(string File, string[] Versions)> Needed { get; init; } =
    [
        ("libc.so.6", ["GLIBC_2.34", "GLIBC_2.2.5"]),
        ("libstdc++.so.6", ["GLIBCXX_3.4.30", Version, "CXXABI_1.3"]),
        ("libm.so.6", ["GLIBC_2.29"]),
    ];

    /// <summary>The versions whose weak flag is set already.</summary>
    public IReadOnlyList<string> Weak { get; init; } = [];

    /// <summary>The dynamic symbols, each with the version that it is bound to.</summary>
    public IReadOnlyList<(string Name, string Version)> Symbols { get; init; } =
        [("wait", "GLIBCXX_3.4.30"), ("ios_base_library_init", Version), ("memcpy", "GLIBC_2.2.5")];

    /// <summary>The symbols that relocations with an addend refer to.</summary>
    public IReadOnlyList<string> Relocated { get; init; } = ["wait", "memcpy"];

    /// <summary>The symbols that relocations without an addend refer to.</summary>
    public IReadOnlyList<string> RelocatedWithoutAddend { get; init; } = ["memcpy"];

    public ElfImage Build()
    {
        var names = new StringTable();
        string[] versions = [.. Needed.SelectMany(need => need.Versions)];
        (uint Type, byte[] Content, ElfSection Link, int Info, int EntrySize)[] sections =
        [
            (11, SymbolTable(names), ElfSection.Strings, 1, 24),
            (0x6fffffff, SymbolVersions(versions), ElfSection.Symbols, 0, 2),
            (0x6ffffffe, NeededVersions(names, versions), ElfSection.Strings, Needed.Count, 0),
            (4, RelocationTable(Relocated, hasAddend: true), ElfSection.Symbols, 0, 24),
            (9, RelocationTable(RelocatedWithoutAddend, hasAddend: false), ElfSection.Symbols, 0, 16),
        ];
        sections = [(3, names.ToArray(), 0, 0, 0), .. sections];

        int contentSize = sections.Sum(section => section.Content.Length);
        return new ElfImage(Write(file =>
        {
            file.Write([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, .. new byte[8]]);
            file.Write((ushort)3); // shared library
            file.Write((ushort)62); // x86-64
            file.Write(1);
            file.Write(new byte[16]); // no entry point, no program headers
            file.Write((ulong)(HeaderSize + contentSize));
            file.Write(new byte[10]);
            file.Write((ushort)64); // the size of a section header
            file.Write((ushort)(sections.Length + 1));
            file.Write((ushort)0);

            foreach (var section in sections)
            {
                file.Write(section.Content);
            }

            file.Write(new byte[64]); // the section header of no section
            ulong offset = HeaderSize;
            foreach (var section in sections)
            {
                file.Write(0);
                file.Write(section.Type);
                file.Write(new byte[16]);
                file.Write(offset);
                file.Write((ulong)section.Content.Length);
                file.Write((uint)section.Link);
                file.Write(section.Info);
                file.Write(8UL);
                file.Write((ulong)section.EntrySize);
                offset += (ulong)section.Content.Length;
            }
        }));
    }

    private static byte[] Write(Action<BinaryWriter> content)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        content(writer);
        return stream.ToArray();
    }

    private static ushort IndexOf(string[] versions, string version) => (ushort)(Array.IndexOf(versions, version) + 2);

    private static uint Hash(string name)
    {
        uint hash = 0;
        foreach (byte letter in Encoding.ASCII.GetBytes(name))
        {
            hash = (hash << 4) + letter;
            hash = (hash ^ ((hash >> 24) & 0xf0)) & 0x0fffffff;
        }

        return hash;
    }

    private byte[] SymbolTable(StringTable names) => Write(table =>
    {
        table.Write(new byte[24]); // symbol 0 is none
        foreach ((string name, _) in Symbols)
        {
            table.Write(names.Add(name));
            table.Write(new byte[20]);
        }
    });

    private byte[] SymbolVersions(string[] versions) => Write(table =>
    {
        table.Write((ushort)0);
        foreach ((_, string version) in Symbols)
        {
            table.Write(IndexOf(versions, version));
        }
    });

    private byte[] NeededVersions(StringTable names, string[] versions) => Write(list =>
    {
        foreach ((string file, string[] itsVersions) in Needed)
        {
            list.Write((ushort)1);
            list.Write((ushort)itsVersions.Length);
            list.Write(names.Add(file));
            list.Write(ElfImage.RecordSize); // its versions follow
            list.Write(file == Needed[^1].File ? 0 : ElfImage.RecordSize * (1 + itsVersions.Length));
            foreach (string version in itsVersions)
            {
                list.Write(Hash(version));
                list.Write((ushort)(Weak.Contains(version) ? 2 : 0));
                list.Write(IndexOf(versions, version));
                list.Write(names.Add(version));
                list.Write(version == itsVersions[^1] ? 0 : ElfImage.RecordSize);
            }
        }
    });

    private byte[] RelocationTable(IEnumerable<string> symbols, bool hasAddend) => Write(table =>
    {
        string[] names = [.. Symbols.Select(symbol => symbol.Name)];
        foreach (string symbol in symbols)
        {
            table.Write(0x1000UL);
            table.Write(7); // the relocation's type
            table.Write(Array.IndexOf(names, symbol) + 1);
            if (hasAddend)
            {
                table.Write(0UL);
            }
        }
    });

    private sealed class StringTable
    {
        private readonly List<byte> _bytes = [0];

        public int Add(string text)
        {
            int at = _bytes.Count;
            _bytes.AddRange([.. Encoding.ASCII.GetBytes(text), 0]);
            return at;
        }

        public byte[] ToArray() => [.. _bytes];
    }
}
