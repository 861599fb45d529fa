using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DoraSharp.Tests.Files;

/// <remarks>The expected texts are those of CPython 3.11's <c>json.dumps</c>.</remarks>
public class PythonJsonTests
{
    [Theory]
    [InlineData(0.0, "0.0")]
    [InlineData(-0.0, "-0.0")]
    [InlineData(1, "1.0")]
    [InlineData(0.1, "0.1")]
    [InlineData(8.48528137423857, "8.48528137423857")]
    [InlineData(0.0001, "0.0001")]
    [InlineData(0.00001, "1e-05")]
    [InlineData(1.25e-7, "1.25e-07")]
    [InlineData(123456789012345.6, "123456789012345.6")]
    [InlineData(1e15, "1000000000000000.0")]
    [InlineData(1000000000000000.1, "1000000000000000.1")]
    [InlineData(-9999999999999998, "-9999999999999998.0")]
    [InlineData(1e16, "1e+16")]
    [InlineData(1.2345678901234568e22, "1.2345678901234568e+22")]
    [InlineData(120, "120.0")]
    [InlineData(0.00120, "0.0012")]
    [InlineData(-1.5e300, "-1.5e+300")]
    [InlineData(5e-324, "5e-324")]
    public void Float_AnyMagnitude_IsWrittenAsByPython(double value, string expected) =>
        PythonJson.Float(value).ToJsonString().Should().Be(expected);

    [Theory]
    [InlineData(16, "16")]
    [InlineData(-3, "-3")]
    [InlineData(0.25, "0.25")]
    [InlineData(1e15, "1000000000000000.0")]
    public void Number_WithoutFraction_IsAnInt(double value, string expected) =>
        PythonJson.Number(value).ToJsonString().Should().Be(expected);

    [Fact]
    public void Serialize_NestedValues_GivesPythonsIndentationAndEscapes()
    {
        JsonObject value = new()
        {
            ["b"] = new JsonArray(1, "é\u007f\u2028😀<>&'+/"),
            ["a"] = new JsonObject { ["\"\\\b\f\n\r\t\u0001"] = null },
            ["ü"] = new JsonObject { ["list"] = new JsonArray(), ["object"] = new JsonObject() },
            ["raw"] = PythonJson.Raw(JsonElement.Parse("""{"x": 1E5, "y": [true, "\u00e9\/"]}""")),
        };
        const string expected = """
            {
              "b": [
                1,
                "\u00e9\u007f\u2028\ud83d\ude00<>&'+/"
              ],
              "a": {
                "\"\\\b\f\n\r\t\u0001": null
              },
              "\u00fc": {
                "list": [],
                "object": {}
              },
              "raw": {
                "x": 1E5,
                "y": [
                  true,
                  "\u00e9/"
                ]
              }
            }
            """;
        Encoding.UTF8.GetString(PythonJson.Serialize(value)).Should().Be(expected.ReplaceLineEndings("\n"));
    }
}
