using System.Globalization;
using System.Text;
using System.Text.Json;

namespace DoraSharp.Samples.Quickstart;

public class QuickstartCommandTests
{
    [Fact]
    public void Run_FewSteps_WritesTableJsonPlotAndAdapter()
    {
        using TemporaryFolder folder = new();
        using TextConsole console = new();
        QuickstartOptions options = new()
        {
            Data = folder.Write("text.txt", Text()),
            Output = Path.Combine(folder.Path, "out"),
            Json = Path.Combine(folder.Path, "new", "figures.json"),
            Steps = 3,
            Rank = 4,
        };

        QuickstartCommand.Run(options, console.Console).Should().Be(0, console.Text);

        console.Text.Should().ContainAll("Full fine-tuning", "LoRA", "DoRA", "Before: ", "After DoRA: ", "ok     the merged model gives the adapted model's logits");
        console.Text.Should().NotContain("FAILED").And.Contain("(time ratio ");
        File.ReadAllBytes(Path.Combine(options.Output, "loss.png")).Should().StartWith([0x89, (byte)'P', (byte)'N', (byte)'G']);
        Directory.GetFiles(Path.Combine(options.Output, "dora-adapter")).Select(Path.GetFileName)
            .Should().Contain(["adapter_config.json", "adapter_model.safetensors"]);
        CheckFigures(options.Json);
        CheckAdapter(Path.Combine(options.Output, "dora-adapter", "adapter_config.json"));
    }

    [Fact]
    public void Run_QuantizedMethods_ChecksTheLastAdapterOverTheQuantizedModel()
    {
        using TemporaryFolder folder = new();
        using TextConsole console = new();
        QuickstartOptions options = new()
        {
            Data = folder.Write("text.txt", Text()),
            Output = Path.Combine(folder.Path, "out"),
            Json = Path.Combine(folder.Path, "figures.json"),
            Methods = ["qlora", "qdora"],
            Steps = 3,
            Rank = 4,
        };

        QuickstartCommand.Run(options, console.Console).Should().Be(0, console.Text);

        console.Text.Should().ContainAll("QLoRA", "QDoRA", "After QDoRA: ", "ok     the merged model gives the adapted model's logits", "ok     the merged model has the base model's modules");
        Directory.GetDirectories(options.Output).Select(Path.GetFileName).Should().Equal("qdora-adapter");
        using JsonDocument figures = JsonDocument.Parse(File.ReadAllText(options.Json));
        JsonElement[] methods = [.. figures.RootElement.GetProperty("methods").EnumerateArray()];
        methods.Select(method => method.GetProperty("name").GetString()).Should().Equal("qlora", "qdora");
        methods.Should().OnlyContain(method => method.GetProperty("loss_after").GetDouble() < method.GetProperty("loss_before").GetDouble());
    }

    private static void CheckFigures(string path)
    {
        using JsonDocument figures = JsonDocument.Parse(File.ReadAllText(path));
        JsonElement root = figures.RootElement;
        root.EnumerateObject().Select(property => property.Name).Should().Equal("methods", "merged");
        JsonElement[] methods = [.. root.GetProperty("methods").EnumerateArray()];
        methods.Select(method => method.GetProperty("name").GetString()).Should().Equal("full", "lora", "dora");
        foreach (JsonElement method in methods)
        {
            method.EnumerateObject().Select(property => property.Name).Should().Equal("name", "trainable", "loss_before", "loss_after", "seconds", "peak_mb");
            method.GetProperty("loss_after").GetDouble().Should().BeLessThan(method.GetProperty("loss_before").GetDouble());
            method.GetProperty("seconds").GetDouble().Should().BePositive();
            method.GetProperty("peak_mb").GetDouble().Should().BePositive();
        }

        methods.Select(method => method.GetProperty("loss_before").GetDouble()).Distinct().Should().ContainSingle("fresh adapters change nothing");
        long[] trainable = [.. methods.Select(method => method.GetProperty("trainable").GetInt64())];
        trainable[1].Should().BeLessThan(trainable[2], "DoRA trains magnitudes as well");
        trainable[2].Should().BeLessThan(trainable[0]);
        JsonElement merged = root.GetProperty("merged");
        merged.EnumerateObject().Select(property => property.Name).Should().Equal("max_rel_error", "time_ratio");
        merged.GetProperty("max_rel_error").GetDouble().Should().BeInRange(0, 1e-5);
        merged.GetProperty("time_ratio").GetDouble().Should().BePositive();
    }

    private static void CheckAdapter(string path)
    {
        using JsonDocument adapter = JsonDocument.Parse(File.ReadAllText(path));
        adapter.RootElement.GetProperty("base_model_name_or_path").GetString().Should().Be("model");
        adapter.RootElement.GetProperty("task_type").GetString().Should().Be("CAUSAL_LM");
    }

    private static string Text()
    {
        StringBuilder text = new();
        for (int i = 0; i < 600; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"In the year {1400 + i} the ship number {i * 7 % 100} sailed from the harbour with {i % 9} sailors.\n");
        }

        return text.ToString();
    }
}
