using System.Text;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files;

public sealed class SafetensorsWriterTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private string Target => folder.File("out.safetensors");

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Write_TwoTensors_GivesTheReferenceLayout()
    {
        using Tensor values = tensor([1f, 2f, 3f, 4f, 5f, 6f]).reshape(2, 3);
        using Tensor flag = tensor(true);
        SafetensorsWriter.Write(Target, [new("flag", flag), new("w", values)], new Dictionary<string, string> { ["format"] = "pt" });

        const string header = """{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"flag":{"dtype":"BOOL","shape":[],"data_offsets":[24,25]}}""";
        byte[] data = [.. new[] { 1f, 2f, 3f, 4f, 5f, 6f }.SelectMany(BitConverter.GetBytes), 1];
        string padded = header.PadRight((header.Length + 7) / 8 * 8);
        File.ReadAllBytes(Target).Should().Equal(SafetensorsBytes.Create(padded, data));
    }

    [Fact]
    public void Write_NoTensors_GivesAnEmptyObject()
    {
        SafetensorsWriter.Write(Target, []);
        File.ReadAllBytes(Target).Should().Equal(SafetensorsBytes.Create("{}      "));
    }

    [Fact]
    public void Write_EveryDType_OrdersByTypeThenByName()
    {
        ScalarType[] types =
        [
            ScalarType.Bool, ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Float16, ScalarType.BFloat16,
            ScalarType.Int32, ScalarType.Float32, ScalarType.ComplexFloat32, ScalarType.Float64, ScalarType.Int64,
        ];
        using IDisposable scope = NewDisposeScope();
        SafetensorsWriter.Write(Target, types.SelectMany(type => new KeyValuePair<string, Tensor>[] { new($"b.{type}", zeros(3, type)), new($"a.{type}", zeros(1, type)) }));

        using SafetensorsReader reader = SafetensorsReader.Open(Target);
        reader.Entries.Select(entry => entry.Name).Should().Equal(types.Reverse().SelectMany(type => new[] { $"a.{type}", $"b.{type}" }));
    }

    [Fact]
    public void Write_UnusualNames_AreEscapedAndOrderedAsByTheReference()
    {
        // By UTF-8 bytes U+E000 comes before U+1F600; by UTF-16 units it would be the other way round.
        string[] names = ["", "\u0001\t\"\\\b", "a/b<>&'+", "\u007f", "ä", "\u2028", "\uE000", "\U0001F600"];
        using Tensor value = tensor(1f);
        SafetensorsWriter.Write(Target, names.Reverse().Select(name => new KeyValuePair<string, Tensor>(name, value)), new Dictionary<string, string> { ["é\n"] = "\U0001F600" });

        using SafetensorsReader reader = SafetensorsReader.Open(Target);
        reader.Entries.Select(entry => entry.Name).Should().Equal(names);
        reader.Metadata.Should().Equal(new Dictionary<string, string> { ["é\n"] = "\U0001F600" });
        string header = Encoding.UTF8.GetString(File.ReadAllBytes(Target)[8..]);
        header.Should().StartWith("""{"__metadata__":{"é\n":"😀"},"":{""").And.Contain(""" "\u0001\t\"\\\b":{""".Trim()).And.Contain("\"a/b<>&'+\":{").And.Contain("\"\u007f\":{").And.Contain("\"\u2028\":{");
    }

    [Fact]
    public void Write_ViewsOfEveryKind_WritesWhatTheyShow()
    {
        using IDisposable scope = NewDisposeScope();
        Tensor matrix = arange(12, ScalarType.Float32).reshape(3, 4);
        Tensor complex = tensor([(1f, 2f), (3f, -4f)], dtype: ScalarType.ComplexFloat32);
        Dictionary<string, Tensor> views = new()
        {
            ["transposed"] = matrix.t(),
            ["column"] = matrix.narrow(1, 1, 1),
            ["row"] = matrix.narrow(0, 1, 1),
            ["expanded"] = matrix.narrow(0, 2, 1).expand(5, 4),
            ["conjugated"] = complex.conj(),
            ["negated"] = complex.narrow(0, 0, 1).conj().imag,
            ["scalar"] = matrix.sum(),
            ["parameter"] = new TorchSharp.Modules.Parameter(matrix.clone()),
            ["derived"] = new TorchSharp.Modules.Parameter(matrix.clone()) * 2,
        };
        long before = LiveTensors.Count;
        SafetensorsWriter.Write(Target, views);
        LiveTensors.Count.Should().Be(before);

        using SafetensorsReader reader = SafetensorsReader.Open(Target);
        foreach ((string name, Tensor view) in views)
        {
            Tensor read = reader.Read(name);
            read.shape.Should().Equal(view.shape, name);
            read.eq(view).all().item<bool>().Should().BeTrue(name);
            read.requires_grad.Should().BeFalse();
        }

        reader.Read("negated").item<float>().Should().Be(-2);
    }

    [Fact]
    public void Write_ExistingFile_IsReplacedAndNothingElseLeft()
    {
        File.WriteAllText(Target, new string('x', 10_000));
        using Tensor value = tensor(1f);
        SafetensorsWriter.Write(Target, [new("a", value)]);
        new FileInfo(Target).Length.Should().Be(8 + 56 + 4);
        Directory.GetFileSystemEntries(folder.Path).Should().Equal(Target);
    }

    [Fact]
    public void Write_OverTheFileThatIsRead_KeepsTheReaderValid()
    {
        using Tensor first = tensor(1f);
        using Tensor second = tensor(2f);
        SafetensorsWriter.Write(Target, [new("a", first)]);
        using SafetensorsReader reader = SafetensorsReader.Open(Target);
        if (!OperatingSystem.IsWindows())
        {
            SafetensorsWriter.Write(Target, [new("a", second)]);
        }

        using Tensor read = reader.Read("a");
        read.item<float>().Should().Be(1);
    }

    [Fact]
    public void Write_RefusedTensors_NameThemAndLeaveTheOldFile()
    {
        File.WriteAllText(Target, "old");
        using IDisposable scope = NewDisposeScope();
        Tensor good = tensor(1f);
        Tensor disposed = tensor(1f);
        disposed.Dispose();

        Refused([new("a", good), new("a", good)], "'a' is given twice");
        Refused([new("__metadata__", good)], "__metadata__");
        Refused([new("\ud800", good)], "half a surrogate");
        Refused([new("d", disposed)], "'d' is disposed");
        Refused([new("s", eye(3).to_sparse())], "'s' is sparse");
        Refused([new("m", zeros(3, device: META))], "'m' is on the meta device");
        Refused([new("c", zeros(3, ScalarType.ComplexFloat64))], "'c' is ComplexFloat64");
        Refused([new("n", null!)], "n");
        Refused([new(new string('n', SafetensorsHeader.MaxNameLength + 1), good)], "takes 4097 bytes");
        Refused([new(new string('"', (SafetensorsHeader.MaxNameLength / 2) + 1), good)], "takes 4098 bytes");
        Refused([new("a", good)], "takes 4097 bytes", new Dictionary<string, string> { [new string('n', SafetensorsHeader.MaxNameLength + 1)] = "" });
        Refused([new("a", good)], "metadata", new Dictionary<string, string> { ["k"] = null! });
    }

    [Fact]
    public void Write_IntoAMissingFolderOrOntoAFolder_SaysSo()
    {
        using Tensor value = tensor(1f);
        ((Action)(() => SafetensorsWriter.Write(Path.Combine(folder.Path, "no", "out"), [new("a", value)])))
            .Should().Throw<DirectoryNotFoundException>().WithMessage("*no'*does not exist*");
        ((Action)(() => SafetensorsWriter.Write(folder.Path, [new("a", value)]))).Should().Throw<IOException>().WithMessage("*is a folder*");
    }

    [Fact]
    public void Write_GivenUpBeforeTheMove_LeavesTheOldFileAndNoTemporaryOne()
    {
        File.WriteAllText(Target, "old");
        using Tensor value = tensor(1f);
        SafetensorsWriter.Begin(Target, SafetensorsLayout.Create([new("a", value)], null)).Dispose();
        File.ReadAllText(Target).Should().Be("old");
        Directory.GetFileSystemEntries(folder.Path).Should().Equal(Target);
    }

    [Fact]
    public void Write_InPieces_EqualsTheWhole()
    {
        using Tensor values = arange(0, 1003, 1, ScalarType.Int32).reshape(17, 59).t();
        using MemoryStream whole = new();
        using MemoryStream pieces = new();
        TensorBytes.Write(values, whole);
        TensorBytes.Write(values, pieces, piece: 100);
        pieces.ToArray().Should().Equal(whole.ToArray()).And.HaveCount(1003 * 4);
    }

    private void Refused(KeyValuePair<string, Tensor>[] tensors, string reason, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ((Action)(() => SafetensorsWriter.Write(Target, tensors, metadata))).Should().Throw<ArgumentException>().WithMessage($"*{reason}*");
        File.ReadAllText(Target).Should().Be("old");
        Directory.GetFileSystemEntries(folder.Path).Should().Equal(Target);
    }
}
