using System.Text;
using CsCheck;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Files;

public sealed class SafetensorsFuzzTests : IDisposable
{
    private const int Files = 20_000;

    // What any refusal costs, whatever the file: the exception with its stack trace and message, the mapping's objects.
    private const long FixedAllocation = 64 * 1024;

    private static readonly string[] HostileTexts =
    [
        "\"", "{", "}", "[", "]", ",", ":", "\\", "\\u0061", "\\ud800", "null", "true", "-1", "0", "1e9", "9223372036854775807", "9223372036854775808",
        "18446744073709551616", "\"dtype\":\"F8_E4M3\",", "\"shape\":[0],", "\"data_offsets\":[0,0],", "\"__metadata__\":{\"a\":\"b\"},", "\"x\":{},",
        "[[[[[[[[", "{\"a\":{\"a\":{\"a\":", "\0", "\ufeff", "😀", " ",
    ];

    private static readonly Gen<Edit> AnyEdit = Edit.Any(HostileTexts);

    private static readonly Gen<Mutation> AnyMutation = Gen.Select(
        AnyEdit.Array[0, 4], AnyEdit.Array[0, 1], Gen.Bool,
        static (header, file, touchesFile) => new Mutation(header, touchesFile ? file : []));

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <remarks>One sample holds all mutations, so that its seed fixes them all.</remarks>
    [Fact]
    public void Open_MutatedFiles_AreReadOrRefusedWithinTheirSize() =>
        AnyMutation.Array[Files].Sample(Check, seed: "0N0XIzNsQ0O2", iter: 1, threads: 1, print: static _ => "(see the message)");

    [Theory]
    [InlineData("empty tensors")]
    [InlineData("metadata fields")]
    [InlineData("one text")]
    [InlineData("one text with an escape")]
    [InlineData("escapes")]
    [InlineData("one name")]
    [InlineData("spaces")]
    [InlineData("brackets")]
    [InlineData("dimensions")]
    public void Open_HeaderOfNothingBut_AllocatesLessThanTwiceItsSize(string what)
    {
        const int size = 4_000_000;
        string header = what switch
        {
            "empty tensors" => "{" + Many(size, static name => $"\"{name}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}") + "}",
            "metadata fields" => "{\"__metadata__\":{" + Many(size, static name => $"\"{name}\":\"\"") + "}}",
            "one text" => "{\"__metadata__\":{\"a\":\"" + new string('x', size) + "\"}}",
            "one text with an escape" => "{\"__metadata__\":{\"a\":\"\\n" + new string('x', size) + "\"}}",
            "escapes" => "{\"__metadata__\":{\"a\":\"" + string.Concat(Enumerable.Repeat("\\n", size / 2)) + "\"}}",
            "one name" => "{\"" + new string('x', size) + "\":{}}",
            "spaces" => "{" + new string(' ', size) + "}",
            "brackets" => "{\"a\":" + new string('[', size) + "}",
            _ => "{\"a\":{\"dtype\":\"U8\",\"shape\":[" + string.Join(',', Enumerable.Repeat('1', size / 2)) + "],\"data_offsets\":[0,0]}}",
        };
        byte[] bytes = SafetensorsBytes.Create(header);
        header = "";
        string path = folder.File("hostile");
        File.WriteAllBytes(path, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            using SafetensorsReader reader = SafetensorsReader.Open(path);
            reader.Metadata.TryGetValue("a", out _);
        }
        catch (InvalidDataException)
        {
            // Refused as cheaply as read.
        }

        (GC.GetAllocatedBytesForCurrentThread() - before).Should().BeLessThan((2 * bytes.Length) + FixedAllocation);
    }

    private static string Many(int size, Func<string, string> make)
    {
        const int radix = 64;
        StringBuilder text = new(size);
        for (int i = 0; text.Length < size; i++)
        {
            string name = string.Concat((char)('0' + (i / radix / radix / radix)), (char)('0' + (i / radix / radix % radix)), (char)('0' + (i / radix % radix)), (char)('0' + (i % radix))).Replace('\\', '~');
            text.Append(text.Length > 0 ? "," : "").Append(make(name));
        }

        return text.ToString();
    }

    private void Check(Mutation[] mutations)
    {
        byte[][] originals = [Everything(), LikeAnAdapter()];
        long liveBefore = LiveTensors.Count;
        int accepted = 0;
        foreach ((Mutation mutation, int index) in mutations.Select(static (mutation, index) => (mutation, index)))
        {
            byte[] bytes = mutation.Apply(originals[index % originals.Length]);
            try
            {
                accepted += IsAccepted(bytes) ? 1 : 0;
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"File {index}: {Convert.ToBase64String(bytes)}", e);
            }
        }

        LiveTensors.Count.Should().Be(liveBefore);
        accepted.Should().BeInRange(Files / 20, Files / 2, "both answers must be frequent for the test to mean something");
    }

    private bool IsAccepted(byte[] bytes)
    {
        string path = folder.File("mutated");
        File.WriteAllBytes(path, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        bool accepted = TryRead(path, bytes.Length);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        allocated.Should().BeLessThan((2 * bytes.Length) + FixedAllocation);
        return accepted;
    }

    private static bool TryRead(string path, long length)
    {
        try
        {
            using SafetensorsReader reader = SafetensorsReader.Open(path);
            long data = 0;
            foreach (SafetensorsEntry entry in reader.Entries)
            {
                using Tensor tensor = reader.Read(entry.Name);
                data += tensor.numel() * tensor.element_size();
            }

            return data < length ? true : throw new InvalidOperationException($"{data} bytes of tensors came from a file of {length}.");
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private byte[] Everything()
    {
        using IDisposable scope = NewDisposeScope();
        string path = folder.File("everything");
        SafetensorsWriter.Write(
            path,
            SafetensorsType.All.SelectMany(static type => new KeyValuePair<string, Tensor>[]
            {
                new($"{type.Name}.scalar", ones([], type.DType)),
                new($"{type.Name}.matrix", ones([3, 2], type.DType)),
                new($"{type.Name}.empty", ones([2, 0], type.DType)),
            }),
            new Dictionary<string, string> { ["format"] = "pt", ["quote\""] = "\\\u0001😀" });
        return File.ReadAllBytes(path);
    }

    private byte[] LikeAnAdapter()
    {
        using IDisposable scope = NewDisposeScope();
        string path = folder.File("adapter");
        SafetensorsWriter.Write(path, Enumerable.Range(0, 4).SelectMany(static layer => new KeyValuePair<string, Tensor>[]
        {
            new($"base_model.model.layers.{layer}.q.lora_A.weight", ones([4, 12])),
            new($"base_model.model.layers.{layer}.q.lora_B.weight", ones([7, 4])),
            new($"base_model.model.layers.{layer}.q.lora_magnitude_vector", ones([7])),
        }));
        return File.ReadAllBytes(path);
    }

    /// <summary>Edits of the header, whose length is then told truly, and edits of the whole file.</summary>
    private sealed record Mutation(Edit[] Header, Edit[] File)
    {
        public byte[] Apply(byte[] original)
        {
            int length = 8 + (int)BitConverter.ToUInt64(original);
            byte[] header = Edit.Apply(Header, original[8..length]);
            return Edit.Apply(File, SafetensorsBytes.Create(header, original[length..]));
        }
    }
}
