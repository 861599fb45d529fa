using static TorchSharp.torch;

namespace DoraSharp.Tests.Files.Safetensors;

public sealed class SafetensorsCheckpointTests : IDisposable
{
    private const string Index = "model.safetensors.index.json";

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Open_FileFolderOrIndex_FindsTheSameTensors()
    {
        using var scope = NewDisposeScope();
        Write("one.safetensors", ("a", 1), ("b", 2));
        Write("two.safetensors", ("c", 3));
        string index = folder.Write(Index, "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"one.safetensors\", \"c\": \"two.safetensors\"}}");
        foreach (string path in (string[])[folder.Path, index])
        {
            using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
            checkpoint.Names.Should().Equal("a", "b", "c");
            checkpoint.Path.Should().Be(index);
            checkpoint["c"].Shape.Should().Equal(3);
            checkpoint.Read("c").sum().item<float>().Should().Be(3);
            checkpoint.TryGetEntry("d", out _).Should().BeFalse();
            checkpoint.Invoking(static it => it.Read("d")).Should().Throw<KeyNotFoundException>().WithMessage($"*{Index}*'d'*");
        }

        Write("model.safetensors", ("x", 4));
        using SafetensorsCheckpoint single = SafetensorsCheckpoint.Open(folder.Path);
        single.Names.Should().Equal(["x"], "a single file goes before an index");
    }

    [Theory]
    [InlineData("{\"weight_map\": {\"a\": \"none.safetensors\"}}", "*weight_map*'none.safetensors'*no file of that folder*")]
    [InlineData("{\"weight_map\": {\"a\": \"../one.safetensors\"}}", "*'../one.safetensors'*no file of that folder*")]
    [InlineData("{\"weight_map\": {\"z\": \"one.safetensors\"}}", "*'one.safetensors' holds the tensor 'z', which it does not*")]
    [InlineData("{\"weight_map\": {\"a\": 3}}", "*weight_map: 'a' is 3*")]
    [InlineData("{\"weight_map\": [\"a\"]}", "*lacks 'weight_map'*")]
    [InlineData("{\"weight_map\": {\"a\": \"one.safetensors\", \"a\": \"one.safetensors\"}}", "*not valid JSON*")]
    [InlineData("[[[", "*not valid JSON*")]
    public void Open_IndexThatIsWrong_IsRefused(string index, string message)
    {
        Write("one.safetensors", ("a", 1));
        folder.Write(Index, index);
        FluentActions.Invoking(() => SafetensorsCheckpoint.Open(folder.Path)).Should().Throw<InvalidDataException>().WithMessage(message).And.Message.Should().Contain(Index);
    }

    [Fact]
    public void Open_TensorInTwoShards_IsRefused()
    {
        Write("one.safetensors", ("a", 1));
        Write("two.safetensors", ("a", 1), ("b", 1));
        folder.Write(Index, "{\"weight_map\": {\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"}}");
        FluentActions.Invoking(() => SafetensorsCheckpoint.Open(folder.Path)).Should().Throw<InvalidDataException>().WithMessage("*'a'*one.safetensors*two.safetensors*");
    }

    [Fact]
    public void Open_NothingThere_IsRefused()
    {
        FluentActions.Invoking(() => SafetensorsCheckpoint.Open(folder.Path)).Should().Throw<FileNotFoundException>().WithMessage("*neither model.safetensors nor*");
        folder.Write("pytorch_model.bin", "x");
        FluentActions.Invoking(() => SafetensorsCheckpoint.Open(folder.Path)).Should().Throw<FileNotFoundException>().WithMessage("*pytorch_model.bin is not read*");
        FluentActions.Invoking(() => SafetensorsCheckpoint.Open(folder.File("x.safetensors"))).Should().Throw<FileNotFoundException>();
    }

    [Fact]
    public void Read_FileCutShortWhileOpen_IsAnError()
    {
        Write("model.safetensors", ("x", 100_000));
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
        using (FileStream file = new(folder.File("model.safetensors"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(200_000);
        }

        checkpoint.Invoking(static it => it.Read("x")).Should().Throw<InvalidDataException>().WithMessage("*'x'*cut short*");
    }

    private void Write(string name, params (string Name, long Size)[] tensors)
    {
        using var scope = NewDisposeScope();
        SafetensorsWriter.Write(folder.File(name), tensors.Select(static tensor => KeyValuePair.Create(tensor.Name, ones(tensor.Size))));
    }
}
