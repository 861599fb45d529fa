using System.Text;
using System.Text.Json;
using CsCheck;

namespace DoraSharp.Tests.Files;

public sealed class JsonStringTests
{
    private static readonly string[] Special = ["", "\"", "\\", "\b\f\n\r\t", "\U0001F600", "a\U0001F600\U0001F601b", "/", "\u2028é"];

    private static readonly Gen<string> Texts =
        Gen.Select(Gen.String, Gen.String[Gen.Char['\0', '\u00ff'], 0, 30], Gen.Int[0, Special.Length - 1], static (any, latin, index) => any + Special[index] + latin);

    [Fact]
    public void Decode_WhatOtherWritersWrote_IsTheText() => Texts.Sample(
        text =>
        {
            string valid = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
            byte[][] contents =
            [
                JsonSerializer.SerializeToUtf8Bytes(valid)[1..^1],
                JsonEncodedText.Encode(valid, JsonTextEncoder.Minimal).EncodedUtf8Bytes.ToArray(),
                JsonEncodedText.Encode(valid, JsonTextEncoder.Python).EncodedUtf8Bytes.ToArray(),
            ];
            foreach (byte[] content in contents)
            {
                JsonString.IsWellFormed(content).Should().BeTrue();
                JsonString.Decode(content).Should().Be(valid);
            }
        },
        seed: "0N0XIzNsQ0O2",
        iter: 2_000,
        threads: 1);

    [Theory]
    [InlineData(@"\ud83d\ude00", true)]
    [InlineData(@"a\ud83d\ude00b\n", true)]
    [InlineData(@"\ud83d", false)]
    [InlineData(@"\ude00", false)]
    [InlineData(@"\ud83dx\ude00", false)]
    [InlineData(@"\ud83d\n\ude00", false)]
    [InlineData(@"\ud83d\ud83d\ude00", false)]
    [InlineData(@"\ud83d\ude00\ude00", false)]
    [InlineData(@"x\ude00", false)]
    public void IsWellFormed_SurrogatesInEscapes_MustComeInPairs(string json, bool expected)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(json);
        JsonString.IsWellFormed(utf8).Should().Be(expected);
        if (expected)
        {
            JsonString.Decode(utf8).Should().Be(JsonSerializer.Deserialize<string>($"\"{json}\""));
        }
    }
}
