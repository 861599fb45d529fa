using System.Globalization;
using System.Text.Json.Nodes;

namespace DoraSharp.Samples.Quickstart;

/// <summary>What users get wrong is told in one line, before anything is trained.</summary>
public class WrongInputTests
{
    public static TheoryData<string, string> WrongInput => new()
    {
        { "--model /no/such/folder", "--model /no/such/folder: there is no such folder" },
        { "--model {here}/empty", "--model {here}/empty: *config.json*" },
        { "--model {here}/bert", "--model {here}/bert: *bert*" },
        { "--model {here}/one-position", "--model {here}/one-position: max_position_embeddings is 1, *" },
        { "--model {here}/no-tokens --data {here}/long.txt", "--model {here}/no-tokens: The tokenizer has no token for '*" },
        { "--model {here}/slow --data {here}/long.txt", "--model {here}/slow: *" },
        { "--data /no/such/file", "--data: '/no/such/file' does not exist" },
        { "--data {here}/blank.txt", "--data {here}/blank.txt: the file is empty" },
        { "--data {here}/short.txt", "the text is too short: * tokens, but one window takes 128" },
        { "--data {here}/latin1.txt", "--data: '{here}/latin1.txt' is not UTF-8 text" },
        { "--data {here}/binary", "--data: '{here}/binary' is not UTF-8 text" },
        { "--data {here}/empty", "--data: '{here}/empty' is a folder*" },
        { "--data ''", "--data: * empty" },
        { "--method dorra", "--method dorra: there is no such method; there are full, lora, dora, qlora, qdora" },
        { "--steps 0", "--steps 0 and --rank 8 must be 1 or more" },
        { "--rank 2000000000", "--rank 2000000000 is more than the model's hidden size, 128: *" },
        { "--rank 129", "--rank 129 is more than the model's hidden size, 128: *" },
        { "--learning-rate -1", "--learning-rate -1 must be a number above 0" },
        { "--learning-rate abc", "*'abc'*--learning-rate*" },
        { "--bogus 1", "*'--bogus'*" },
        { "--output {here}/blank.txt", "--output {here}/blank.txt: *" },
        { "--output {here}/no-adapter", "--output {here}/no-adapter/dora-adapter: *" },
        { "--output {here}/no-plot", "--output {here}/no-plot/loss.png: this is a folder, not a file" },
        { "--output ''", "--output needs a name, but got an empty one" },
        { "--json {here}/blank.txt/figures.json", "--json {here}/blank.txt: *" },
        { "--json {here}/empty", "--json {here}/empty: this is a folder, not a file" },
        { "--json ''", "--json needs a name, but got an empty one" },
    };

    [Theory]
    [MemberData(nameof(WrongInput))]
    public void Main_WrongInput_IsOneLineOnStandardError(string arguments, string expected)
    {
        using TemporaryFolder folder = new();
        Fill(folder);
        string[] before = Files(folder);
        string[] given =
        [
            .. arguments.Replace("{here}", folder.Path, StringComparison.Ordinal).Split(' ').Select(argument => argument == "''" ? "" : argument),
        ];
        string[] output = given.Contains("--output") ? [] : ["--output", Path.Combine(folder.Path, "out")];

        (int exitCode, string error) = Invoke([.. given, .. output]);

        exitCode.Should().Be(1);
        error.Should().Match("error: " + expected.Replace("{here}", folder.Path, StringComparison.Ordinal) + Environment.NewLine);
        error.TrimEnd().Should().NotContain("\n").And.NotContain("   at ");
        Files(folder).Should().Equal(before, "nothing was trained or left behind");
    }

    [Theory]
    [InlineData("--output", "/proc", "/proc")]
    [InlineData("--output", "/proc/none", "/proc/none")]
    [InlineData("--json", "/proc/none/figures.json", "/proc/none")]
    public void Main_PlaceWhereNobodyCanWrite_IsOneLineOnStandardError(string option, string value, string refused)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has /proc, where not even root can create files.");
        using TemporaryFolder folder = new();
        string[] output = option == "--output" ? [] : ["--output", folder.Path];

        (int exitCode, string error) = Invoke([option, value, .. output]);

        exitCode.Should().Be(1);
        error.Should().Match($"error: {option} {refused}: *{Environment.NewLine}");
        error.TrimEnd().Should().NotContain("\n");
        Files(folder).Should().BeEmpty();
    }

    [Fact]
    public void WriteFile_NameOfAFolder_LeavesNoTemporaryFile()
    {
        using TemporaryFolder folder = new();
        string taken = Directory.CreateDirectory(Path.Combine(folder.Path, "taken")).FullName;

        Action write = () => OutputPath.WriteFile("--json", taken, [1, 2, 3]);

        write.Should().Throw<UserException>().WithMessage($"--json {taken}: *");
        Files(folder).Should().BeEmpty();
    }

    [Fact]
    public void Passed_SlowClock_HasNoSay()
    {
        new MergeResult(ReloadError: 0, MaxRelativeError: 0, IsPlain: true, TimeRatio: 9).Passed.Should().BeTrue();
        new MergeResult(ReloadError: 0, MaxRelativeError: 0, IsPlain: false, TimeRatio: 1).Passed.Should().BeFalse();
        new MergeResult(ReloadError: 1e-4, MaxRelativeError: 0, IsPlain: true, TimeRatio: 1).Passed.Should().BeFalse();
        new MergeResult(ReloadError: 0, MaxRelativeError: 1e-4, IsPlain: true, TimeRatio: 1).Passed.Should().BeFalse();
    }

    private static void Fill(TemporaryFolder folder)
    {
        folder.Write("blank.txt", " \n\n");
        folder.Write("short.txt", "A short text.");
        folder.Write("long.txt", string.Concat(Enumerable.Repeat(new string('a', 60) + "!\n", 200)));
        File.WriteAllBytes(Path.Combine(folder.Path, "latin1.txt"), [(byte)'c', (byte)'a', (byte)'f', 0xE9, (byte)' ', (byte)'a', (byte)'u']);
        File.WriteAllBytes(Path.Combine(folder.Path, "binary"), [(byte)'a', 0, 1, 2, (byte)'b']);
        folder.Write("no-adapter/dora-adapter", "a file");
        Directory.CreateDirectory(Path.Combine(folder.Path, "no-plot", "loss.png"));
        Directory.CreateDirectory(Path.Combine(folder.Path, "empty"));
        folder.Write("bert/config.json", """{"model_type":"bert","architectures":["BertModel"],"hidden_size":8}""");
        WriteModel(folder, "one-position", (config, _) => config["max_position_embeddings"] = 1);
        WriteModel(folder, "no-tokens", (_, tokenizer) =>
        {
            tokenizer["pre_tokenizer"] = null;
            tokenizer["model"]!["vocab"] = new JsonObject { ["<|endoftext|>"] = 0, ["b"] = 1 };
            tokenizer["model"]!["merges"] = new JsonArray();
        });
        WriteModel(folder, "slow", (_, tokenizer) => tokenizer["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Split",
            ["pattern"] = new JsonObject { ["Regex"] = "(a+)+b" },
            ["behavior"] = "Isolated",
            ["invert"] = false,
        });
    }

    /// <summary>The bundled model, changed, without its weights: what is wrong is to be found before they are read.</summary>
    private static void WriteModel(TemporaryFolder folder, string name, Action<JsonNode, JsonNode> change)
    {
        string bundled = new QuickstartOptions().Model;
        JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(bundled, "config.json")))!;
        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(Path.Combine(bundled, "tokenizer.json")))!;
        change(config, tokenizer);
        folder.Write($"{name}/config.json", config.ToJsonString());
        folder.Write($"{name}/tokenizer.json", tokenizer.ToJsonString());
    }

    private static string[] Files(TemporaryFolder folder) =>
        [.. Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];

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
}
