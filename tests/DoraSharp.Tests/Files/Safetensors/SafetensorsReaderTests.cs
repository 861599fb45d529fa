using System.Text;
using System.Text.Json;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files;

public sealed class SafetensorsReaderTests : IDisposable
{
    private const string Valid = """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]}}""";

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Open_ValidFile_ListsEntriesInHeaderOrderWithFileOffsets()
    {
        const string header = """{"z":{"dtype":"I16","shape":[2],"data_offsets":[4,8]},"__metadata__":{"y":"1","x":"ä"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}""";
        using SafetensorsReader reader = Open(header, new byte[8]);
        int start = 8 + Encoding.UTF8.GetByteCount(header);

        reader.Entries.Select(entry => entry.Name).Should().Equal("z", "a");
        reader.Entries[0].Should().BeEquivalentTo(new SafetensorsEntry("z", ScalarType.Int16, [2], start + 4, 4));
        reader.Entries[1].Should().BeEquivalentTo(new SafetensorsEntry("a", ScalarType.Float32, [], start, 4));
        reader.Metadata.Should().Equal(new Dictionary<string, string> { ["y"] = "1", ["x"] = "ä" });
        reader.TryGetEntry("a", out SafetensorsEntry? entry).Should().BeTrue();
        entry.Should().BeEquivalentTo(reader.Entries[1]);
        reader.Entries.Should().HaveCount(2);
        reader.Invoking(r => r.Entries[2]).Should().Throw<IndexOutOfRangeException>();
        reader.Metadata["x"].Should().Be("ä");
        reader.Metadata.ContainsKey("z").Should().BeFalse();
        reader.Metadata.TryGetValue("y", out string? y).Should().BeTrue();
        y.Should().Be("1");
        reader.Metadata.Keys.Should().Equal("y", "x");
        reader.Metadata.Values.Should().Equal("1", "ä");
        reader.Invoking(r => r.Metadata["z"]).Should().Throw<KeyNotFoundException>().WithMessage("*'z'*");
        reader.TryGetEntry("A", out _).Should().BeFalse();
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("{}      ")]
    [InlineData("""{"__metadata__":{}}""")]
    [InlineData("""{ "__metadata__" : { "a" : "b" } }   """)]
    public void Open_NoTensors_IsAnEmptyFile(string header)
    {
        using SafetensorsReader reader = Open(header);
        reader.Entries.Should().BeEmpty();
    }

    [Fact]
    public void Open_EmptyTensorsBetweenOthers_AreAccepted()
    {
        const string header = """
            {"e":{"dtype":"F64","shape":[3,0],"data_offsets":[4,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},
            "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"f":{"dtype":"BOOL","shape":[0],"data_offsets":[6,6]},"g":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}}
            """;
        using SafetensorsReader reader = Open(header, new byte[6]);
        using Tensor empty = reader.Read("e");
        empty.shape.Should().Equal(3, 0);
        empty.dtype.Should().Be(ScalarType.Float64);
    }

    [Theory]
    // Length and encoding of the header.
    [InlineData("", "begin with '{'")]
    [InlineData(" {}", "begin with '{'")]
    [InlineData("[]", "begin with '{'")]
    [InlineData("{}\n", "other than spaces")]
    [InlineData("{} {}", "other than spaces")]
    [InlineData("{", "not valid JSON")]
    [InlineData("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},}""", "not valid JSON")]
    [InlineData("""{/* */}""", "not valid JSON")]
    [InlineData("""{"\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", "not valid JSON")]
    [InlineData("""{"a":{"dtype":"U8","shape":[[0]],"data_offsets":[0,0]}}""", "not valid JSON")]
    // Names.
    [InlineData("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", "'a' is there twice")]
    [InlineData("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", "'\\u0061' is there twice")]
    [InlineData("""{"__metadata__":{"k":"1","\u006b":"2"}}""", "field '\\u006b' twice")]
    [InlineData("""{"__metadata__":{"k":"\udc00"}}""", "half a surrogate pair")]
    [InlineData("""{"__metadata__":{"\ud800":"x"}}""", "not valid JSON")]
    [InlineData("""{"__metadata__":{},"__metadata__":{}}""", "__metadata__ is there twice")]
    [InlineData("""{"__metadata__":{"k":"1","k":"2"}}""", "field 'k' twice")]
    [InlineData("""{"__metadata__":{"k":1}}""", "__metadata__")]
    [InlineData("""{"__metadata__":{"k":{}}}""", "__metadata__")]
    [InlineData("""{"__metadata__":{"k":null}}""", "__metadata__")]
    [InlineData("""{"__metadata__":null}""", "__metadata__")]
    [InlineData("""{"__metadata__":[]}""", "__metadata__")]
    // Fields of an entry.
    [InlineData("""{"a":1}""", "'a' must be")]
    [InlineData("""{"a":[]}""", "'a' must be")]
    [InlineData("""{"a":{}}""", "'a' lacks")]
    [InlineData("""{"a":{"shape":[0],"data_offsets":[0,0]}}""", "'a' lacks")]
    [InlineData("""{"a":{"dtype":"U8","data_offsets":[0,0]}}""", "'a' lacks")]
    [InlineData("""{"a":{"dtype":"U8","shape":[0]}}""", "'a' lacks")]
    [InlineData("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}}""", "unknown field 'more'")]
    [InlineData("""{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", "has a field twice")]
    [InlineData("""{"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}""", "has a field twice")]
    [InlineData("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}}""", "has a field twice")]
    // Element types.
    [InlineData("""{"a":{"dtype":1,"shape":[0],"data_offsets":[0,0]}}""", "'a' must be or have a text as dtype")]
    [InlineData("""{"a":{"dtype":"f32","shape":[0],"data_offsets":[0,0]}}""", "dtype 'f32'")]
    [InlineData("""{"a":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}""", "'a' has the dtype 'F8_E4M3'")]
    [InlineData("""{"a":{"dtype":"F8_E5M2","shape":[0],"data_offsets":[0,0]}}""", "'a' has the dtype 'F8_E5M2'")]
    [InlineData("""{"a":{"dtype":"U16","shape":[0],"data_offsets":[0,0]}}""", "'a' has the dtype 'U16'")]
    [InlineData("""{"a":{"dtype":"U32","shape":[0],"data_offsets":[0,0]}}""", "'a' has the dtype 'U32'")]
    [InlineData("""{"a":{"dtype":"U64","shape":[0],"data_offsets":[0,0]}}""", "'a' has the dtype 'U64'")]
    // Shapes.
    [InlineData("""{"a":{"dtype":"U8","shape":0,"data_offsets":[0,0]}}""", "array as shape")]
    [InlineData("""{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,1]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[18446744073709551617],"data_offsets":[0,1]}}""", "whole numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}""", "more than 2^63 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}""", "more than 2^63 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}""", "more than 2^63 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}}""", "more than 2^63 bytes")]
    [InlineData("""{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}""", "more than 64 dimensions")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "takes 8 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[],"data_offsets":[0,0]}}""", "takes 4 bytes")]
    // Offsets.
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":4}}""", "array as data_offsets")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[]}}""", "data_offsets")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0]}}""", "data_offsets")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,2,4]}}""", "two numbers")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}""", "claims the bytes 4 to 0")]
    [InlineData("""{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}""", "claims the bytes 0 to 5 of 4")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[9223372036854775803,9223372036854775807]}}""", "claims the bytes")]
    [InlineData("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "'b' overlaps")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""", "overlaps")]
    [InlineData("""{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}""", "'b' overlaps")]
    [InlineData("""{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "'b' begins 1 bytes after")]
    [InlineData("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}""", "'a' begins 1 bytes after")]
    [InlineData("""{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}""", "1 bytes at the file's end")]
    [InlineData("{}", "4 bytes at the file's end")]
    public void Open_DamagedHeader_IsRefusedWithPathAndReason(string header, string reason) =>
        Refused(SafetensorsBytes.Create(header, 1, 2, 3, 4), reason);

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    public void Open_FewerBytesThanTheLengthTakes_IsRefused(int length) => Refused(new byte[length], $"it has {length} bytes");

    [Theory]
    [InlineData(0ul)]
    [InlineData(111ul)]
    [InlineData(119ul)]
    [InlineData(100_000_001ul)]
    [InlineData(ulong.MaxValue)]
    [InlineData((ulong)long.MaxValue + 9)]
    public void Open_WrongHeaderLength_IsRefused(ulong length)
    {
        byte[] bytes = SafetensorsBytes.Create(Valid, new byte[8]);
        SafetensorsBytes.Length(length).CopyTo(bytes, 0);
        Refused(bytes, "");
    }

    [Fact]
    public void Open_TruncatedAnywhereOrExtended_IsRefused()
    {
        byte[] bytes = SafetensorsBytes.Create(Valid, new byte[8]);
        for (int length = 0; length < bytes.Length; length++)
        {
            Refused(bytes[..length], "");
        }

        Refused([.. bytes, 0], "1 bytes at the file's end");
    }

    [Fact]
    public void Open_InvalidUtf8_IsRefused() =>
        Refused(SafetensorsBytes.Create([.. "{\"__metadata__\":{\"a\":\""u8, 0xC3, 0x28, .. "\"}}"u8]), "not UTF-8");

    [Fact]
    public void Open_HostileName_IsCutInTheMessage()
    {
        string name = new('n', 100_000);
        Refused(SafetensorsBytes.Create("{\"" + name + "\":{}}"), "n…'").Message.Length.Should().BeLessThan(1000);
    }

    [Fact]
    public void Open_LongestName_IsAcceptedAndALongerOneRefused()
    {
        string name = new('n', SafetensorsHeader.MaxNameLength);
        using SafetensorsReader reader = Open("{\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"__metadata__\":{\"" + name + "\":\"x\"}}");
        reader.TryGetEntry(name, out _).Should().BeTrue();
        reader.Metadata[name].Should().Be("x");
        Refused(SafetensorsBytes.Create("{\"n" + name + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"), "4097 bytes");
        Refused(SafetensorsBytes.Create("{\"__metadata__\":{\"n" + name + "\":\"x\"}}"), "4097 bytes");
    }

    [Fact]
    public void Open_ThousandsOfEscapedNames_AreAllFound()
    {
        string[] names = [.. Enumerable.Range(0, 3000).Select(i => $"\u00e9{i}\"\\\n")];
        string header = "{" + string.Join(",", names.Select(name => $"{JsonSerializer.Serialize(name)}:{{\"dtype\":\"U8\",\"shape\":[0,{name.Length}],\"data_offsets\":[0,0]}}")) + "}";
        using SafetensorsReader reader = Open(header);
        reader.Entries.Select(entry => entry.Name).Should().Equal(names);
        foreach (string name in names)
        {
            reader.TryGetEntry(name, out SafetensorsEntry? entry).Should().BeTrue();
            entry!.Shape.Should().Equal(0, name.Length);
        }

        reader.TryGetEntry("\u00e93000\"\\\n", out _).Should().BeFalse();
    }

    [Fact]
    public void Open_DeepNesting_IsRefused() =>
        Refused(SafetensorsBytes.Create("{\"a\":" + new string('[', 1_000_000) + new string(']', 1_000_000) + "}"), "'a' must be");

    [Fact]
    public void Open_MissingFileOrFolder_SaysWhich()
    {
        ((Action)(() => SafetensorsReader.Open(folder.File("none")))).Should().Throw<FileNotFoundException>().WithMessage("*none*");
        ((Action)(() => SafetensorsReader.Open(folder.Path))).Should().Throw<IOException>().WithMessage($"*{folder.Path}*folder*");
    }

    [Fact]
    public void Open_RefusedFile_IsNotHeldOpen()
    {
        string path = Write(SafetensorsBytes.Create(Valid, new byte[7]));
        ((Action)(() => SafetensorsReader.Open(path))).Should().Throw<InvalidDataException>();
        using FileStream exclusive = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
    }

    [Fact]
    public void Read_UnknownName_SaysPathAndName()
    {
        using SafetensorsReader reader = Open(Valid, new byte[8]);
        reader.Invoking(r => r.Read("c")).Should().Throw<KeyNotFoundException>().WithMessage($"*{reader.Path}*'c'*");
    }

    [Fact]
    public void Read_BooleansOtherThanZeroAndOne_AreRefused()
    {
        long before = LiveTensors.Count;
        using SafetensorsReader reader = Open("""{"m":{"dtype":"BOOL","shape":[2,2],"data_offsets":[0,4]}}""", 0, 1, 2, 1);
        reader.Invoking(r => r.Read("m")).Should().Throw<InvalidDataException>().WithMessage($"*{reader.Path}*'m'*");
        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Read_AfterDispose_ThrowsAndEarlierTensorsStayValid()
    {
        SafetensorsReader reader = Open(Valid, 0, 0, 0x80, 0x3F, 1, 0, 0xFF, 0xFF);
        using Tensor a = reader.Read("a");
        using Tensor b = reader.Read("b");
        reader.Dispose();
        reader.Dispose();

        a.item<float>().Should().Be(1);
        b.data<short>().ToArray().Should().Equal(1, -1);
        reader.Invoking(r => r.Read("a")).Should().Throw<ObjectDisposedException>();
        reader.Invoking(r => r.TryGetEntry("a", out _)).Should().Throw<ObjectDisposedException>();
        reader.Invoking(r => r.Entries[0]).Should().Throw<ObjectDisposedException>();
        reader.Invoking(r => r.Metadata.ContainsKey("a")).Should().Throw<ObjectDisposedException>();
    }

    [Fact]
    public void Read_ManyTimes_LeavesNoTensors()
    {
        using SafetensorsReader reader = Open(Valid, new byte[8]);
        long before = LiveTensors.Count;
        for (int i = 0; i < 100; i++)
        {
            using Tensor a = reader.Read("a");
            LiveTensors.Count.Should().Be(before + 1);
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Read_ToAnotherDevice_MovesTheTensor()
    {
        using SafetensorsReader reader = Open(Valid, new byte[8]);
        long before = LiveTensors.Count;
        using Tensor moved = reader.Read("b", META);
        moved.device_type.Should().Be(TorchSharp.DeviceType.META);
        moved.shape.Should().Equal(2);
        LiveTensors.Count.Should().Be(before + 1);
    }

    [Fact]
    public void Read_FromManyThreads_GivesTheSame()
    {
        using SafetensorsReader reader = Open(Valid, 0, 0, 0x80, 0x3F, 1, 0, 0xFF, 0xFF);
        float[] values = new float[64];
        Parallel.For(0, values.Length, i =>
        {
            using Tensor a = reader.Read("a");
            values[i] = a.item<float>();
        });
        values.Should().AllBeEquivalentTo(1f);
    }

    [Fact]
    public void Read_InPieces_EqualsTheWhole()
    {
        byte[] data = [.. Enumerable.Range(0, 101 * 2).Select(i => (byte)(i * 7))];
        using SafetensorsReader reader = Open("""{"a":{"dtype":"I16","shape":[101],"data_offsets":[0,202]}}""", data);
        long before = LiveTensors.Count;
        using Tensor read = reader.Read("a", null, piece: 10);
        read.bytes.ToArray().Should().Equal(data);
        LiveTensors.Count.Should().Be(before + 1);
    }

    private SafetensorsReader Open(string header, params byte[] data) => SafetensorsReader.Open(Write(SafetensorsBytes.Create(header, data)));

    private InvalidDataException Refused(byte[] bytes, string reason)
    {
        string path = Write(bytes);
        return ((Action)(() => SafetensorsReader.Open(path).Dispose())).Should().Throw<InvalidDataException>()
            .WithMessage($"*'{path}'*{reason}*").Which;
    }

    private string Write(byte[] bytes)
    {
        string path = folder.File("file.safetensors");
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
