using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp.Transformers.Tests;

/// <summary>Ids and texts as Hugging Face's tokenizers library, or llama2.c, gives them.</summary>
public class GoldenTokenizerTests
{
    [Fact]
    public void Encode_Stories260K_GivesTheGoldenIds()
    {
        var tokenizer = HuggingFaceTokenizer.Load(SharedFolder.Require("models", "stories260K", "hf"));

        // Where a text holds "▁" or a special token's name, the file differs from llama2.c, whose ids the others are.
        Compare("stories260K", row => Join(Ids(row, row.TryGetProperty("ids_tokenizer_json", out _) ? "ids_tokenizer_json" : "ids")), row => Join(tokenizer.Encode(Text(row))));
    }

    [Fact]
    public void Decode_Stories260K_GivesTheGoldenTexts()
    {
        var tokenizer = HuggingFaceTokenizer.Load(SharedFolder.Require("models", "stories260K", "hf"));

        Compare("stories260K", row => row.GetProperty("decoded").GetString()!, row => tokenizer.Decode(Ids(row, "ids")));
    }

    [Theory]
    [InlineData("story-llama")]
    [InlineData("bpe-llama3")]
    public void Encode_TokenizersLibrary_GivesTheGoldenIds(string name)
    {
        var tokenizer = HuggingFaceTokenizer.Load(Folder(name));

        Compare(name, row => Join(Ids(row, "ids")), row => Join(tokenizer.Encode(Text(row))));
        Compare(name, row => Join(Ids(row, "ids_without_special")), row => Join(tokenizer.Encode(Text(row), addSpecialTokens: false)));
    }

    [Theory]
    [InlineData("story-llama")]
    [InlineData("bpe-llama3")]
    public void Decode_TokenizersLibrary_GivesTheGoldenTexts(string name)
    {
        var tokenizer = HuggingFaceTokenizer.Load(Folder(name));

        Compare(name, row => row.GetProperty("decoded_without_special").GetString()!, row => tokenizer.Decode(Ids(row, "ids_without_special"), skipSpecialTokens: false));
    }

    [Fact]
    public void EncodeAndDecode_Gpt2WithItsRealVocabulary_GiveTheGoldenIdsAndTexts()
    {
        string source = SharedFolder.Require("fixtures", "models", "tokenizers", "gpt2");
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", Gpt2File(source).ToJsonString());
        File.Copy(Path.Combine(source, "tokenizer_config.json"), folder.File("tokenizer_config.json"));
        var tokenizer = HuggingFaceTokenizer.Load(folder.Path);

        Compare("gpt2", row => Join(Ids(row, "ids")), row => Join(tokenizer.Encode(Text(row))));
        Compare("gpt2", row => row.GetProperty("decoded").GetString()!, row => tokenizer.Decode(Ids(row, "ids"), skipSpecialTokens: false));
        tokenizer.BosTokenId.Should().Be(50256);
        tokenizer.VocabSize.Should().Be(50257);
    }

    [Theory]
    [InlineData("story-llama", 2048, 1, 2)]
    [InlineData("bpe-llama3", 715, 700, 704)]
    public void Load_RealFolder_KnowsItsSizeAndItsSpecialTokens(string name, int size, long bos, long eos)
    {
        var tokenizer = HuggingFaceTokenizer.Load(Folder(name));

        tokenizer.VocabSize.Should().Be(size);
        tokenizer.BosTokenId.Should().Be(bos);
        tokenizer.EosTokenId.Should().Be(eos);
    }

    private static void Compare(string name, Func<JsonElement, string> expected, Func<JsonElement, string> actual)
    {
        string path = SharedFolder.Require("fixtures", "models", "tokenizers", name, "case.json");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        int rows = 0;
        foreach (JsonElement row in document.RootElement.GetProperty("encode").EnumerateArray())
        {
            actual(row).Should().Be(expected(row), "row {0} is the text '{1}'", rows, Text(row));
            rows++;
        }

        rows.Should().BeGreaterThan(150);
    }

    private static string Folder(string name)
        => name == "story-llama" ? SharedFolder.Require("models", name) : SharedFolder.Require("fixtures", "models", "tokenizers", name);

    private static string Text(JsonElement row) => row.GetProperty("text").GetString()!;

    private static long[] Ids(JsonElement row, string field) => [.. row.GetProperty(field).EnumerateArray().Select(id => id.GetInt64())];

    private static string Join(IEnumerable<long> ids) => string.Join(' ', ids);

    /// <summary>GPT-2's tokenizer.json, from the two files that it was published in.</summary>
    private static JsonObject Gpt2File(string source)
    {
        JsonObject byteLevel() => new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true };
        IEnumerable<string> merges = File.ReadLines(Path.Combine(source, "merges.txt")).Where(line => line.Length > 0 && !line.StartsWith("#version", StringComparison.Ordinal));
        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(new JsonObject { ["id"] = 50256, ["content"] = "<|endoftext|>", ["normalized"] = true, ["special"] = true }),
            ["pre_tokenizer"] = byteLevel(),
            ["post_processor"] = byteLevel(),
            ["decoder"] = byteLevel(),
            ["model"] = new JsonObject
            {
                ["continuing_subword_prefix"] = "",
                ["vocab"] = JsonNode.Parse(File.ReadAllText(Path.Combine(source, "vocab.json"))),
                ["merges"] = new JsonArray([.. merges.Select(line => JsonValue.Create(line))]),
            },
        };
    }
}
