using System.Globalization;
using System.Text;
using CsCheck;

namespace DoraSharp.Tests.Files;

public sealed class PeftConfigFuzzTests : IDisposable
{
    private const int Files = 20_000;

    // What a file costs beside its size: the options, and for a refusal the exceptions with their stack traces.
    private const long FixedAllocation = 128 * 1024;

    private static readonly Gen<Edit[][]> Mutations = Edit.Any(
        "\"", "{", "[[[[", "null", "true", "-1", "1e999", "99999999999", "\\ud800", "(", "*", "\"r\":8,", "\"pissa\"", "\0", "[]", "{}", "[1]", "\"x\"", "0.5", ",", " ")
        .Array[1, 3].Array[Files];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <remarks>One sample holds all mutations, so that its seed fixes them all.</remarks>
    [Fact]
    public void Read_MutatedConfigurations_AreRefusedOrSurviveARoundTrip() =>
        Mutations.Sample(Check, seed: "0N0XIzNsQ0O2", iter: 1, threads: 1, print: static _ => "(see the message)");

    [Theory]
    [InlineData("\"x\":[{0}]", "1")]
    [InlineData("\"x\":[{0}]", "[]")]
    [InlineData("\"layers_to_transform\":[{0}]", "1")]
    [InlineData("\"target_modules\":[{0}]", "\"a\"")]
    [InlineData("\"modules_to_save\":[{0}]", "\"a\"")]
    [InlineData("\"trainable_token_indices\":[{0}]", "1")]
    [InlineData("{0}", "\"#\":1")]
    [InlineData("\"x\":{{{0}}}", "\"#\":1")]
    [InlineData("\"rank_pattern\":{{{0}}}", "\"#\":1")]
    [InlineData("\"eva_config\":{{{0}}}", "\"#\":1")]
    [InlineData("\"target_modules\":\"{0}\"", "(")]
    [InlineData("\"target_modules\":\"{0}\"", "(a|")]
    [InlineData("\"lora_alpha\":1{0}", "0")]
    public void Read_LargestFileOfNothingBut_TakesABoundedMultiple(string form, string item)
    {
        const int size = (1 << 20) - 100;
        string separator = form.Contains("target_modules\":\"", StringComparison.Ordinal) || item == "0" ? "" : ",";
        StringBuilder items = new(size);
        for (int i = 0; items.Length < size - item.Length - 8; i++)
        {
            items.Append(i == 0 ? "" : separator).Append(item.Replace("#", i.ToString("x", CultureInfo.InvariantCulture), StringComparison.Ordinal));
        }

        string path = folder.File("large.json");
        File.WriteAllText(path, "{\"peft_type\":\"LORA\"," + string.Format(CultureInfo.InvariantCulture, form, items) + "}");
        items.Clear();
        long before = GC.GetAllocatedBytesForCurrentThread();
        _ = TryRead(path);
        (GC.GetAllocatedBytesForCurrentThread() - before).Should().BeLessThan(50L * size);
    }

    private void Check(Edit[][] mutations)
    {
        byte[][] originals = [Lora(), Vera()];
        int accepted = 0;
        foreach ((Edit[] edits, int index) in mutations.Select(static (edits, index) => (edits, index)))
        {
            byte[] bytes = Edit.Apply(edits, originals[index % originals.Length]);
            try
            {
                accepted += IsAccepted(bytes) ? 1 : 0;
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"File {index}: {Convert.ToBase64String(bytes)}", e);
            }
        }

        accepted.Should().BeInRange(Files / 20, Files / 2, "both answers must be frequent for the test to mean something");
    }

    private bool IsAccepted(byte[] bytes)
    {
        string path = folder.File("c.json");
        File.WriteAllBytes(path, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        PeftConfig? config = TryRead(path);
        (GC.GetAllocatedBytesForCurrentThread() - before).Should().BeLessThan((2 * bytes.Length) + FixedAllocation);
        if (config is null)
        {
            return false;
        }

        PeftConfig.Serialize(config.Options, config.Metadata).Should().Equal(bytes);
        byte[] anew = PeftConfig.Serialize(config.Options, config.Metadata with { Source = null });
        File.WriteAllBytes(path, anew);
        PeftConfig again = PeftConfigReader.Read(path);
        PeftConfig.Serialize(again.Options, again.Metadata with { Source = null }).Should().Equal(anew);
        return true;
    }

    private static PeftConfig? TryRead(string path)
    {
        try
        {
            return PeftConfigReader.Read(path);
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private static byte[] Lora() => PeftConfig.Serialize(
        new LoraOptions
        {
            TargetModules = ["q_proj", "v_proj"],
            ExcludeModules = ".*k",
            RankPattern = [new("q_proj", 4)],
            AlphaPattern = [new("v_proj", 0.5)],
            Alpha = 12.5,
            LayersToTransform = [1, 2],
            LayersPattern = ["h"],
            ModulesToSave = ["head"],
            TrainableTokens = [new("emb", 3, 7)],
            TargetParameters = ["experts.up"],
            Bias = BiasTraining.LoraOnly,
            Initialization = LoraInitialization.PissaFast(4),
            Eva = new(),
            Corda = new(),
            Loftq = new(),
            LoraGa = new(),
            TaskType = "CAUSAL_LM",
        },
        new PeftMetadata { BaseModelNameOrPath = "é" });

    private static byte[] Vera() =>
        PeftConfig.Serialize(new VeraOptions { TargetModules = "a|b", UseDora = true, ProjectionKey = 7, ExcludeModules = ["c"], Dropout = 0.1 }, new PeftMetadata());
}
