using System.Buffers.Binary;
using CsCheck;
using DoraSharp.Build;

namespace DoraSharp.Tests.Native;

public class WeakenSymbolVersionTests
{
    private static readonly Dictionary<string, (Action<ElfImage> Damage, string Refusal)> Damages = new()
    {
        ["no magic"] = (elf => elf.Bytes[0] = 0, "not an ELF file"),
        ["empty"] = (elf => elf.Bytes = [], "not an ELF file"),
        ["32 bits"] = (elf => elf.Bytes[4] = 1, "not a 64-bit little-endian"),
        ["big-endian"] = (elf => elf.Bytes[5] = 2, "not a 64-bit little-endian"),
        ["unknown ELF version"] = (elf => elf.Bytes[6] = 0, "not a 64-bit little-endian"),
        ["object file"] = (elf => elf.Set16(16, 1), "not a shared library"),
        ["no section headers"] = (elf => elf.Set64(40, 0), "no section headers"),
        ["no section count"] = (elf => elf.Set16(60, 0), "no section headers"),
        ["section headers of 32 bits"] = (elf => elf.Set16(58, 40), "section headers have an unknown size"),
        ["section headers past the end"] = (elf => elf.Set64(40, (ulong)elf.Bytes.Length - 1), "section headers would lie outside"),
        ["section headers at an offset that overflows"] = (elf => elf.Set64(40, ulong.MaxValue - 8), "section headers would lie outside"),
        ["more section headers than there are"] = (elf => elf.Set16(60, ushort.MaxValue), "section headers would lie outside"),
        ["cut within the section headers"] = (elf => elf.Bytes = elf.Bytes[..^1], "section headers would lie outside"),
        ["version list past the end"] = (elf => elf.Set64(elf.Header(ElfSection.NeededVersions) + 24, ulong.MaxValue), "would lie outside"),
        ["version list of huge size"] = (elf => elf.Set64(elf.Header(ElfSection.NeededVersions) + 32, ulong.MaxValue), "would lie outside"),
        ["version list cut short"] = (elf => elf.Set64(elf.Header(ElfSection.NeededVersions) + 32, 100), "leads outside of its section"),
        ["two version lists"] = (elf => elf.Set32(elf.Header(ElfSection.ShortRelocations) + 4, 0x6ffffffe), "several sections"),
        ["names in no section"] = (elf => elf.Set32(elf.Header(ElfSection.NeededVersions) + 40, 77), "section that does not exist"),
        ["names in a section of symbols"] = (elf => elf.Set32(elf.Header(ElfSection.NeededVersions) + 40, (uint)ElfSection.Symbols), "no string table"),
        ["string table past the end"] = (elf => elf.Set64(elf.Header(ElfSection.Strings) + 24, 1UL << 40), "would lie outside"),
        ["string table without an end"] = (elf => elf.Bytes[elf.Header(ElfSection.Strings) + 32]--, "no end in its string table"),
        ["dependency's name outside"] = (elf => elf.Set32(elf.Record(ElfImage.DependencyRecord) + 4, 1_000_000), "outside of its string table"),
        ["version's name outside"] = (elf => elf.Set32(elf.Record(ElfImage.VersionRecord) + 8, uint.MaxValue), "outside of its string table"),
        ["record of unknown format"] = (elf => elf.Set16(elf.Record(ElfImage.DependencyRecord), 2), "unknown format"),
        ["dependency without versions"] = (elf => elf.Set16(elf.Record(ElfImage.DependencyRecord) + 2, 0), "unknown format"),
        ["dependency that is its own version"] = (elf => elf.Set32(elf.Record(ElfImage.DependencyRecord) + 8, 0), "runs into itself"),
        ["version that leads back"] = (elf => elf.Set32(elf.Record(ElfImage.VersionRecord) + 12, unchecked((uint)-ElfImage.RecordSize)), "leads outside of its section"),
        ["records that overlap"] = (elf => elf.Set32(elf.Record(ElfImage.VersionRecord) + 12, 4), "runs into itself"),
        ["fewer versions than counted"] = (elf => elf.Set32(elf.Record(ElfImage.VersionRecord) + 12, 0), "not as long as it says"),
        ["more versions than counted"] = (elf => elf.Set16(elf.Record(ElfImage.DependencyRecord) + 2, 2), "not as long as it says"),
        ["more dependencies than counted"] = (elf => elf.Set32(elf.Header(ElfSection.NeededVersions) + 44, 2), "not as long as it says"),
        ["fewer dependencies than counted"] = (elf => elf.Set32(elf.Header(ElfSection.NeededVersions) + 44, uint.MaxValue), "not as long as it says"),
        ["wrong hash"] = (elf => elf.Set32(elf.Record(ElfImage.VersionRecord), 0), "hash of GLIBCXX_3.4.32 is wrong"),
        ["reserved index"] = (elf => elf.Set16(elf.Record(ElfImage.VersionRecord) + 6, 1), "reserved"),
        ["no dynamic symbols"] = (elf => elf.Set32(elf.Header(ElfSection.Symbols) + 4, 1), "no versions of dynamic symbols"),
        ["no symbol versions"] = (elf => elf.Set32(elf.Header(ElfSection.SymbolVersions) + 4, 1), "no versions of dynamic symbols"),
        ["symbols of unknown size"] = (elf => elf.Set64(elf.Header(ElfSection.Symbols) + 56, 16), "dynamic symbols have an unknown size"),
        ["symbols cut short"] = (elf => elf.Set64(elf.Header(ElfSection.Symbols) + 32, 72), "do not match its dynamic symbols"),
        ["versions of other symbols"] = (elf => elf.Set32(elf.Header(ElfSection.SymbolVersions) + 40, (uint)ElfSection.Strings), "do not match its dynamic symbols"),
        ["relocations past the end"] = (elf => elf.Set64(elf.Header(ElfSection.Relocations) + 32, 24_000), "would lie outside"),
        ["relocations of unknown size"] = (elf => elf.Set64(elf.Header(ElfSection.Relocations) + 56, 25), "relocations have an unknown size"),
        ["half a relocation"] = (elf => elf.Set64(elf.Header(ElfSection.ShortRelocations) + 32, 8), "relocations have an unknown size"),
        ["relocation to no symbol"] = (elf => elf.Set32(elf.Content(ElfSection.Relocations) + 12, 99), "symbol that does not exist"),
    };

    private static readonly Weakening?[] EveryOutcome = [null, Weakening.NotNeeded, Weakening.AlreadyWeak, Weakening.Weakened];

    public static TheoryData<string> DamageNames => [.. Damages.Keys];

    [Fact]
    public void Weaken_VersionThatNothingUses_SetsItsWeakFlagAlone()
    {
        ElfImage elf = new ElfBuilder().Build();
        byte[] expected = [.. elf.Bytes];
        expected[elf.Record(ElfImage.VersionRecord) + 4] = 2;

        WeakenSymbolVersion.Weaken(elf.Bytes, ElfBuilder.Version).Should().Be(Weakening.Weakened);

        elf.Bytes.Should().Equal(expected);
    }

    [Fact]
    public void Weaken_Twice_FindsItWeakAndChangesNothing()
    {
        byte[] file = new ElfBuilder().Build().Bytes;
        WeakenSymbolVersion.Weaken(file, ElfBuilder.Version);
        byte[] once = [.. file];

        WeakenSymbolVersion.Weaken(file, ElfBuilder.Version).Should().Be(Weakening.AlreadyWeak);

        file.Should().Equal(once);
    }

    [Theory]
    [InlineData("GLIBCXX_3.4.33")]
    [InlineData("GLIBCXX_3.4.3")]
    [InlineData("libstdc++.so.6")]
    public void Weaken_VersionThatIsNotAskedFor_ChangesNothing(string version)
    {
        byte[] file = new ElfBuilder().Build().Bytes;
        byte[] original = [.. file];

        WeakenSymbolVersion.Weaken(file, version).Should().Be(Weakening.NotNeeded);

        file.Should().Equal(original);
    }

    [Fact]
    public void Weaken_LibraryWithoutVersions_ChangesNothing()
    {
        ElfImage elf = new ElfBuilder().Build();
        elf.Set32(elf.Header(ElfSection.NeededVersions) + 4, 1);
        byte[] original = [.. elf.Bytes];

        WeakenSymbolVersion.Weaken(elf.Bytes, ElfBuilder.Version).Should().Be(Weakening.NotNeeded);

        elf.Bytes.Should().Equal(original);
    }

    [Fact]
    public void Weaken_VersionOfAUsedSymbol_Refuses()
    {
        Refuses(new ElfBuilder { Relocated = ["wait", "ios_base_library_init"] }.Build().Bytes, "really used");
        Refuses(new ElfBuilder { RelocatedWithoutAddend = ["ios_base_library_init"] }.Build().Bytes, "really used");
    }

    [Fact]
    public void Weaken_VersionOfTwoDependencies_Refuses() =>
        Refuses(new ElfBuilder { Needed = [("libstdc++.so.6", ["GLIBCXX_3.4.30", ElfBuilder.Version, "GLIBC_2.2.5"]), ("libother.so", [ElfBuilder.Version])] }.Build().Bytes, "twice");

    [Theory]
    [MemberData(nameof(DamageNames))]
    public void Weaken_DamagedFile_RefusesAndChangesNothing(string name)
    {
        (Action<ElfImage> damage, string refusal) = Damages[name];
        ElfImage elf = new ElfBuilder().Build();
        damage(elf);

        Refuses(elf.Bytes, refusal);
    }

    [Fact]
    public void Weaken_FileCutAnywhere_Refuses()
    {
        byte[] file = new ElfBuilder().Build().Bytes;
        for (int length = 0; length < file.Length; length++)
        {
            Refuses(file[..length], "");
        }
    }

    [Fact]
    public void Weaken_EveryByteMutated_NeverCorrupts()
    {
        byte[] file = new ElfBuilder().Build().Bytes;
        var outcomes = new HashSet<Weakening?>();
        for (int at = 0; at < file.Length; at++)
        {
            foreach (byte value in new byte[] { 0, 1, 0x7f, 0x80, 0xff, (byte)(file[at] + 1), (byte)(file[at] - 1) })
            {
                byte[] mutated = [.. file];
                mutated[at] = value;
                outcomes.Add(NeverCorrupts(mutated, $"byte {at} is {value}"));
            }
        }

        outcomes.Should().BeEquivalentTo(EveryOutcome);
    }

    [Fact]
    public void Weaken_RandomMutations_NeverCorrupts()
    {
        byte[] file = new ElfBuilder().Build().Bytes;
        Gen<byte> values = Gen.OneOf(Gen.OneOf<byte>(0, 1, 2, 16, 64, 0x7f, 0x80, 0xff), Gen.Byte);
        Gen<(int, byte)[]> edits = Gen.Select(Gen.Int[0, file.Length - 1], values).Array[1, 12];
        var outcomes = new HashSet<Weakening?>();
        for (uint i = 0; i < 20_000; i++)
        {
            (int At, byte Value)[] chosen = edits.Generate(new PCG(i, 1), null, out _);
            byte[] mutated = [.. file];
            foreach ((int at, byte value) in chosen)
            {
                mutated[at] = value;
            }

            outcomes.Add(NeverCorrupts(mutated, $"mutation {i} is {string.Join(", ", chosen)}"));
        }

        outcomes.Should().BeEquivalentTo(EveryOutcome);
    }

    [Fact]
    public void Weaken_TorchSharpsOwnLibrary_SetsOneFlag()
    {
        byte[] file = File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libLibTorchSharp.so"));
        byte[] weakened = [.. file];
        WeakenSymbolVersion.Weaken(weakened, ElfBuilder.Version).Should().BeOneOf(Weakening.AlreadyWeak, Weakening.Weakened);
        NeededVersion place = new ElfLibrary(weakened).FindNeededVersion(ElfBuilder.Version)!.Value;
        byte[] original = [.. weakened];
        BinaryPrimitives.WriteUInt16LittleEndian(original.AsSpan(place.FlagsOffset), 0);

        byte[] again = [.. original];
        WeakenSymbolVersion.Weaken(again, ElfBuilder.Version).Should().Be(Weakening.Weakened);

        again.AsSpan().SequenceEqual(weakened).Should().BeTrue();
        Differences(original, again).Should().Equal(place.FlagsOffset);
    }

    private static void Refuses(byte[] file, string because)
    {
        byte[] original = [.. file];

        Action weaken = () => WeakenSymbolVersion.Weaken(file, ElfBuilder.Version);

        weaken.Should().Throw<InvalidDataException>().WithMessage($"*{because}*");
        file.Should().Equal(original);
    }

    /// <summary>What was done to the file; null if it was refused.</summary>
    private static Weakening? NeverCorrupts(byte[] file, string mutation)
    {
        byte[] result = [.. file];
        Weakening? outcome = null;
        try
        {
            outcome = WeakenSymbolVersion.Weaken(result, ElfBuilder.Version);
        }
        catch (InvalidDataException)
        {
            // It refused.
        }

        int[] differences = Differences(file, result);
        if (outcome != Weakening.Weakened)
        {
            Assert.True(differences.Length == 0, $"{outcome}, but the file was changed: {mutation}");
            return outcome;
        }

        Assert.True(differences.Length == 1 && result[differences[0]] == (file[differences[0]] | 2), $"more than the flag was changed: {mutation}");
        Assert.True(WeakenSymbolVersion.Weaken(result, ElfBuilder.Version) == Weakening.AlreadyWeak, $"the flag is not where it is read: {mutation}");
        return outcome;
    }

    private static int[] Differences(byte[] a, byte[] b) => [.. Enumerable.Range(0, a.Length).Where(i => a[i] != b[i])];
}
