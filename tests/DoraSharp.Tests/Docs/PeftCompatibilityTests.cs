using System.Reflection;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace DoraSharp.Tests.Docs;

public partial class PeftCompatibilityTests
{
    /// <summary>Names of Python, TorchSharp and C# that stand among ours.</summary>
    private static readonly string[] OfOthers = ["LoraConfig", "VeraConfig", "PeftMixedModel", "PeftModelForCausalLM", "DoraCaching", "LORA", "VERA"];

    private static readonly string Text = File.ReadAllText(RepositoryFolder.File("docs", "peft-compatibility.md"));

    private static readonly string[] Code = [.. Quoted().Matches(Text).Select(match => match.Groups[1].Value).Distinct()];

    /// <summary>A field that is read is in the table, and so is one that is refused.</summary>
    [Fact]
    public void Fields_ThatAConfigurationCanHold_AreInTheTable() =>
        PeftConfig.Fields(new LoraOptions { DoublesAttentionOutput = true, DropoutPlacement = DropoutPlacement.Peft, GroupedUpdate = GroupedUpdate.Mergeable }, new()).Keys
            .Union(PeftConfig.Fields(new VeraOptions { UseDora = true, ExcludeModules = ["a"] }, new()).Keys)
            .Should().OnlyContain(name => Code.Contains(name));

    [Fact]
    public void Fields_OfPeftsLoraConfig_AreInTheTable()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(SharedFolder.Require("fixtures", "targeting", "lora_config_fields.json")));

        golden.RootElement.GetProperty("fields").EnumerateArray().Select(field => field.GetProperty("name").GetString()!).Should().HaveCountGreaterThan(40)
            .And.OnlyContain(name => Code.Contains(name));
    }

    [Fact]
    public void Names_OfTheLibrary_AreThoseOfPublicTypesAndMembers()
    {
        Type[] types = typeof(LoraOptions).Assembly.GetExportedTypes();
        HashSet<string> names = [.. types.SelectMany(type => type.GetMembers(BindingFlags.Public | BindingFlags.Static | BindingFlags.Instance).Select(member => member.Name).Append(type.Name)), .. OfOthers];
        string[] written = [.. Code.Where(code => Name().IsMatch(code))];

        written.Should().HaveCountGreaterThan(50);
        written.Should().OnlyContain(code => code.Split('.', StringSplitOptions.None).All(part => names.Contains(part)));
    }

    [GeneratedRegex("`([^`\n]+)`")]
    private static partial Regex Quoted();

    [GeneratedRegex(@"^[A-Z][A-Za-z]+(\.[A-Z][A-Za-z]+)*$")]
    private static partial Regex Name();
}
