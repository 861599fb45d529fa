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
        console.Text.Should().NotContain("FAILED");
        File.ReadAllBytes(Path.Combine(options.Output, "loss.png")).Should().StartWith([0x89, (byte)'P', (byte)'N', (byte)'G']);
        Directory.GetFiles(Path.Combine(options.Output, "dora-adapter")).Select(Path.GetFileName)
            .Should().Contain(["adapter_config.json", "adapter_model.safetensors"]);
        CheckFigures(options.Json);
    }

    public static TheoryData<string, string> WrongInput => new()
    {
        { "--model /no/such/folder", "--model /no/such/folder: there is no such folder" },
        { "--model {empty}", "--model {empty}: *config.json*" },
        { "--model {bert}", "--model {bert}: *bert*" },
        { "--data /no/such/file", "--data /no/such/file: *" },
        { "--data {blank}", "--data {blank}: the file is empty" },
        { "--data {short}", "the text is too short: * tokens, but one window takes 128" },
        { "--steps 0", "--steps 0 and --rank 8 must be 1 or more" },
        { "--learning-rate -1", "--learning-rate -1 must be a number above 0" },
        { "--output {blank}", "--output {blank}: *" },
        { "--json {blank}/figures.json", "--json {blank}: *" },
    };

    [Theory]
    [MemberData(nameof(WrongInput))]
    public void Main_WrongInput_IsOneLineOnStandardError(string arguments, string expected)
    {
        using TemporaryFolder folder = new();
        string empty = Directory.CreateDirectory(Path.Combine(folder.Path, "empty")).FullName;
        string bert = Path.GetDirectoryName(folder.Write("bert/config.json", """{"model_type":"bert","architectures":["BertModel"],"hidden_size":8}"""))!;
        string blank = folder.Write("blank.txt", " \n\n");
        string brief = folder.Write("short.txt", "A short text.");
        string Fill(string text) => text.Replace("{empty}", empty, StringComparison.Ordinal).Replace("{bert}", bert, StringComparison.Ordinal)
            .Replace("{blank}", blank, StringComparison.Ordinal).Replace("{short}", brief, StringComparison.Ordinal);

        (int exitCode, string error) = Invoke([.. Fill(arguments).Split(' '), .. arguments.Contains("--output", StringComparison.Ordinal)
            ? Array.Empty<string>()
            : ["--output", Path.Combine(folder.Path, "out")]]);

        exitCode.Should().Be(1);
        error.Should().Match("error: " + Fill(expected) + Environment.NewLine);
        error.TrimEnd().Should().NotContain("\n").And.NotContain("   at ");
    }

    private static (int ExitCode, string Error) Invoke(params string[] arguments)
    {
        TextWriter before = Console.Error;
        using StringWriter error = new(CultureInfo.InvariantCulture);
        Console.SetError(error);
        try
        {
            return ((int)typeof(QuickstartCommand).Assembly.EntryPoint!.Invoke(null, [arguments])!, error.ToString());
        }
        finally
        {
            Console.SetError(before);
        }
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
