using static TorchSharp.torch;

namespace DoraSharp.Tests.Files;

public sealed class SafetensorsRoundTripTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(ScalarType.Byte)]
    [InlineData(ScalarType.Int8)]
    [InlineData(ScalarType.Int16)]
    [InlineData(ScalarType.Int32)]
    [InlineData(ScalarType.Int64)]
    [InlineData(ScalarType.Float16)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.ComplexFloat32)]
    [InlineData(ScalarType.Bool)]
    public void RoundTrip_EveryDTypeAndRank_KeepsBits(ScalarType dtype)
    {
        using IDisposable scope = NewDisposeScope();
        random.manual_seed(7);
        Dictionary<string, Tensor> tensors = new[] { Array.Empty<long>(), [13], [5, 7], [2, 3, 1, 4], [0], [3, 0, 2] }
            .ToDictionary(shape => $"[{string.Join(',', shape)}]", shape => (randn(shape, ScalarType.Float32) * 50).to(dtype));
        string path = folder.File("a");
        SafetensorsWriter.Write(path, tensors);

        using SafetensorsReader reader = SafetensorsReader.Open(path);
        reader.Entries.Should().HaveCount(tensors.Count);
        foreach ((string name, Tensor expected) in tensors)
        {
            Tensor actual = reader.Read(name, CPU);
            actual.dtype.Should().Be(dtype);
            actual.shape.Should().Equal(expected.shape);
            actual.bytes.SequenceEqual(expected.bytes).Should().BeTrue();
        }
    }

    [Theory]
    [InlineData("fixtures/peft", 500)]
    [InlineData("adapters", 3)]
    public void RoundTrip_FilesOfTheReferenceLibrary_AreRewrittenByteForByte(string where, int atLeast)
    {
        string[] files = Directory.GetFiles(SharedFolder.Require(where.Split('/')), "*.safetensors", SearchOption.AllDirectories);
        files.Length.Should().BeGreaterThanOrEqualTo(atLeast);
        long before = LiveTensors.Count;
        string copy = folder.File("copy");
        foreach (string file in files)
        {
            Rewrite(file, copy);
            File.ReadAllBytes(copy).AsSpan().SequenceEqual(File.ReadAllBytes(file)).Should().BeTrue(file);
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Theory]
    [InlineData("models", 4)]
    [InlineData("fixtures/bnb", 40)]
    public void Open_FilesOfOtherWriters_ReadsAllTensors(string where, int atLeast)
    {
        string[] files = Directory.GetFiles(SharedFolder.Require(where.Split('/')), "*.safetensors", SearchOption.AllDirectories);
        files.Length.Should().BeGreaterThanOrEqualTo(atLeast);
        foreach (string file in files)
        {
            using SafetensorsReader reader = SafetensorsReader.Open(file);
            foreach (SafetensorsEntry entry in reader.Entries)
            {
                using Tensor tensor = reader.Read(entry.Name);
                tensor.shape.Should().Equal(entry.Shape);
            }
        }
    }

    private static void Rewrite(string from, string to)
    {
        using IDisposable scope = NewDisposeScope();
        using SafetensorsReader reader = SafetensorsReader.Open(from);
        SafetensorsWriter.Write(
            to,
            reader.Entries.Reverse().Select(entry => new KeyValuePair<string, Tensor>(entry.Name, reader.Read(entry.Name))),
            reader.Metadata.Count == 0 ? null : reader.Metadata);
    }
}
