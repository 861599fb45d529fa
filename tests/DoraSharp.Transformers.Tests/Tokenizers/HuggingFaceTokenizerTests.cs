using System.Text.Json.Nodes;

namespace DoraSharp.Transformers.Tests;

public class HuggingFaceTokenizerTests
{
    /// <summary>Ids 0 to 8; "ab" and "bc" compete for the b of "abc".</summary>
    private const string Model = """{"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "b": 2, "c": 3, "bc": 4, "ab": 5, "abc": 6, " ": 7, "▁": 8}, "merges": ["b c", ["a", "b"], ["ab", "c"]]}""";

    [Fact]
    public void Encode_MergesThatCompete_TakesTheEarlierOfTheList()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, "{}");

        tokenizer.Encode("abc").Should().Equal(1, 4);
        tokenizer.Encode("abab").Should().Equal(5, 5);
    }

    [Fact]
    public void Encode_IgnoredMerges_TakesAWholeWordFirst()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, """{"model": {"ignore_merges": true}}""");

        tokenizer.Encode("abc").Should().Equal(6);
        tokenizer.Encode("abca").Should().Equal(1, 4, 1);
    }

    [Theory]
    [InlineData(true, new long[] { 1, 0, 2 })]
    [InlineData(false, new long[] { 1, 0, 0, 2 })]
    public void Encode_UnknownCharacters_AreFusedIfTheFileSaysSo(bool fused, long[] expected)
    {
        using var folder = new TemporaryFolder();

        Load(folder, $$$"""{"model": {"fuse_unk": {{{(fused ? "true" : "false")}}}}}""").Encode("ax😀b").Should().Equal(expected);
    }

    [Fact]
    public void Encode_ByteFallback_SpellsUnknownCharactersWhereAllTheirBytesAreThere()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, """{"model": {"byte_fallback": true, "vocab": {"<0xC3>": 20, "<0xA9>": 21}}, "decoder": {"type": "ByteFallback"}}""");

        tokenizer.Encode("aéß").Should().Equal(1, 20, 21, 0);
        tokenizer.Decode([1, 20, 21, 0]).Should().Be("aé?");
        tokenizer.Decode([21, 20, 1]).Should().Be("\uFFFD\uFFFDa");
    }

    [Fact]
    public void Encode_CharacterWithoutAnyToken_Throws()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, """{"model": {"unk_token": null}}""");

        tokenizer.Invoking(t => t.Encode("abz")).Should().Throw<InvalidDataException>().WithMessage("*'z'*");
    }

    [Theory]
    [InlineData("false", "false", new long[] { 1, 7, 30, 7, 2 })]
    [InlineData("true", "false", new long[] { 1, 30, 7, 2 })]
    [InlineData("false", "true", new long[] { 1, 7, 30, 2 })]
    [InlineData("true", "true", new long[] { 1, 30, 2 })]
    public void Encode_AddedTokenThatStrips_SwallowsTheSpacesBesideIt(string left, string right, long[] expected)
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, $$"""{"added_tokens": [{"id": 30, "content": "<m>", "special": true, "lstrip": {{left}}, "rstrip": {{right}}}]}""");

        tokenizer.Encode("a <m> b").Should().Equal(expected);
        tokenizer.Decode([1, 30, 2]).Should().Be("ab");
        tokenizer.Decode([1, 30, 2], skipSpecialTokens: false).Should().Be("a<m>b");
    }

    [Fact]
    public void Encode_AddedTokensThatStartTogether_TakesTheLongest()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, """{"added_tokens": [{"id": 30, "content": "<|a"}, {"id": 31, "content": "<|a|>"}]}""");

        tokenizer.Encode("<|a|><|a").Should().Equal(31, 30);
    }

    [Fact]
    public void Encode_Template_PutsTokensOnBothSides()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(
            folder,
            """
            {"post_processor": {"type": "TemplateProcessing",
              "single": [{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "E"}}],
              "special_tokens": {"B": {"id": "B", "ids": [7, 8]}, "E": {"id": "E", "ids": [0]}}}}
            """);

        tokenizer.Encode("a").Should().Equal(7, 8, 1, 0);
        tokenizer.Encode("a", addSpecialTokens: false).Should().Equal(1);
    }

    [Theory]
    [InlineData("""{"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated"}""", new long[] { 5, 7, 4 })]
    [InlineData("""{"type": "Sequence", "pretokenizers": []}""", new long[] { 5, 7, 4 })]
    [InlineData("""{"type": "Metaspace", "replacement": "]", "prepend_scheme": "never"}""", new long[] { 5, 0, 4 })]
    [InlineData("""{"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Removed"}""", new long[] { 5, 4 })]
    [InlineData("""{"type": "Split", "pattern": {"Regex": "b|c"}, "behavior": "Removed", "invert": true}""", new long[] { 2, 2, 3 })]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}""", new long[] { 8, 5, 8, 4 })]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}""", new long[] { 5, 8, 4 })]
    [InlineData("""{"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, {"type": "Split", "pattern": {"String": "b"}, "behavior": "Isolated"}]}""", new long[] { 1, 2, 7, 2, 3 })]
    public void Encode_PreTokenizer_SplitsBeforeTheMerges(string preTokenizer, long[] expected)
    {
        using var folder = new TemporaryFolder();

        Load(folder, $$"""{"pre_tokenizer": {{preTokenizer}}}""").Encode("ab bc").Should().Equal(expected);
    }

    [Fact]
    public void Encode_MetaspaceAtTheFirstPiece_MarksOnlyTheStartOfTheText()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(
            folder,
            """{"added_tokens": [{"id": 30, "content": "<m>"}], "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}, "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}}""");

        tokenizer.Encode("a<m>b").Should().Equal(8, 1, 30, 2);
        tokenizer.Decode([8, 1, 8, 2]).Should().Be("a b");
    }

    [Fact]
    public void Decode_Strip_TakesOffNoMoreThanItsCount()
    {
        using var folder = new TemporaryFolder();
        HuggingFaceTokenizer tokenizer = Load(folder, """{"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 2}]}}""");

        tokenizer.Decode([7, 7, 1, 7, 7, 7]).Should().Be(" a ");
        tokenizer.Decode([7]).Should().Be("");
    }

    [Fact]
    public void Decode_UnknownId_Throws()
    {
        using var folder = new TemporaryFolder();

        Load(folder, "{}").Invoking(t => t.Decode([1, 9])).Should().Throw<ArgumentException>().WithMessage("*token 9*0 to 8*");
    }

    [Theory]
    [InlineData("""{"model": {"type": "Unigram"}}""", "Unigram")]
    [InlineData("""{"model": {"continuing_subword_prefix": "##"}}""", "continuing_subword_prefix")]
    [InlineData("""{"model": {"dropout": 0.1}}""", "dropout")]
    [InlineData("""{"normalizer": {"type": "NFC"}}""", "NFC")]
    [InlineData("""{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}}""", "Lowercase")]
    [InlineData("""{"pre_tokenizer": {"type": "Whitespace"}}""", "Whitespace")]
    [InlineData("""{"pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext"}}""", "MergedWithNext")]
    [InlineData("""{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a++"}, "behavior": "Isolated"}}""", "pattern")]
    [InlineData("""{"pre_tokenizer": {"type": "Metaspace", "replacement": "__"}}""", "'__'")]
    [InlineData("""{"decoder": {"type": "Metaspace", "prepend_scheme": "last"}}""", "'last'")]
    [InlineData("""{"post_processor": {"type": "RobertaProcessing"}}""", "RobertaProcessing")]
    [InlineData("""{"decoder": {"type": "WordPiece"}}""", "WordPiece")]
    [InlineData("""{"added_tokens": [{"id": 30, "content": "<m>", "single_word": true}]}""", "single_word")]
    public void Load_UnsupportedPart_IsRefusedByName(string changes, string named)
    {
        using var folder = new TemporaryFolder();

        Loading(folder, changes).Should().Throw<NotSupportedException>().WithMessage($"*{folder.Path}*{named}*");
    }

    [Theory]
    [InlineData("""{"model": null}""", "lacks 'model'")]
    [InlineData("""{"model": {"vocab": {"a": -1}}}""", "'a' is -1")]
    [InlineData("""{"model": {"vocab": {"z": 1}}}""", "the id 1 is given to 'a' and to 'z'")]
    [InlineData("""{"model": {"unk_token": "<unk>"}}""", "'<unk>' is not in the vocabulary")]
    [InlineData("""{"model": {"merges": ["a"]}}""", "the merge \"a\"")]
    [InlineData("""{"model": {"merges": ["a c"]}}""", "the merge \"a c\"")]
    [InlineData("""{"model": {"merges": [3]}}""", "the merge 3")]
    [InlineData("""{"normalizer": {"type": 3}}""", "'type' is 3")]
    [InlineData("""{"decoder": {"type": "Strip", "content": "", "start": 2000000000}}""", "'content' is empty")]
    [InlineData("""{"added_tokens": [{"content": "<m>"}]}""", "lacks 'id'")]
    [InlineData("""{"added_tokens": [{"id": 30, "content": ""}]}""", "'content' is empty")]
    [InlineData("""{"added_tokens": [{"id": 2, "content": "<m>"}]}""", "the id 2 is given to 'b' and to '<m>'")]
    [InlineData("""{"added_tokens": [{"id": 30, "content": "<m>"}, {"id": 31, "content": "<m>"}]}""", "'<m>' is added twice")]
    [InlineData("""{"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}}]}}""", "'B' is not declared")]
    [InlineData("""{"post_processor": {"type": "TemplateProcessing", "single": []}}""", "lacks the text")]
    [InlineData("""{"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "B"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"B": {"ids": [99]}}}}""", "the token 99")]
    [InlineData("""{"model": {"vocab": {"z": 2147483647}}}""", "'z' is 2147483647")]
    public void Load_DamagedFile_SaysWhereAndWhat(string changes, string message)
    {
        using var folder = new TemporaryFolder();

        Loading(folder, changes).Should().Throw<InvalidDataException>().WithMessage($"*{folder.Path}*{message}*");
    }

    [Fact]
    public void Load_NoFileOrNoJson_SaysSo()
    {
        using var folder = new TemporaryFolder();
        folder.Invoking(f => HuggingFaceTokenizer.Load(f.Path)).Should().Throw<FileNotFoundException>().WithMessage("*tokenizer.json*");

        string file = folder.Write("tokenizer.json", "{\"model\": ");
        folder.Invoking(f => HuggingFaceTokenizer.Load(f.Path)).Should().Throw<InvalidDataException>().WithMessage($"{file}*JSON*");
    }

    [Theory]
    [InlineData("{\"model\": \"~\"}")]
    [InlineData("{\"model\": {\"~\": 1}}")]
    [InlineData("{\"model\": [\"\\ud800\"]}")]
    public void Load_TextThatIsNoUnicode_SaysSo(string json)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("tokenizer.json"), [.. json.Select(character => character == '~' ? (byte)0xC3 : (byte)character)]);

        folder.Invoking(f => HuggingFaceTokenizer.Load(f.Path)).Should().Throw<InvalidDataException>().WithMessage("*tokenizer.json*JSON*");
    }

    [Fact]
    public void Load_SpecialTokensNamedBeside_KnowsTheirIds()
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer_config.json", """{"bos_token": {"content": "a"}}""");
        folder.Write("special_tokens_map.json", """{"bos_token": "b", "eos_token": "c"}""");

        HuggingFaceTokenizer tokenizer = Load(folder, "{}");
        tokenizer.BosTokenId.Should().Be(1);
        tokenizer.EosTokenId.Should().Be(3);

        folder.Write("tokenizer_config.json", """{"bos_token": "<s>"}""");
        Loading(folder, "{}").Should().Throw<InvalidDataException>().WithMessage("*tokenizer_config.json*bos_token '<s>'*");
    }

    private static Action Loading(TemporaryFolder folder, string changes) => () => Load(folder, changes);

    /// <summary>Loads the small file, with fields changed or added; those of the model and its vocabulary are merged.</summary>
    private static HuggingFaceTokenizer Load(TemporaryFolder folder, string changes)
    {
        var json = new JsonObject { ["model"] = JsonNode.Parse(Model), ["decoder"] = new JsonObject { ["type"] = "Fuse" } };
        Overlay(json, JsonNode.Parse(changes)!.AsObject());
        folder.Write("tokenizer.json", json.ToJsonString());
        return HuggingFaceTokenizer.Load(folder.Path);
    }

    private static void Overlay(JsonObject target, JsonObject changes)
    {
        foreach ((string name, JsonNode? value) in changes)
        {
            if (name is "model" or "vocab" && value is JsonObject inner)
            {
                Overlay(target[name]!.AsObject(), inner);
            }
            else
            {
                target[name] = value?.DeepClone();
            }
        }
    }
}
