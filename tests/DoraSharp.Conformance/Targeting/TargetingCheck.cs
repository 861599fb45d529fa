using System.Globalization;
using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>Compares what this library matches with what PEFT did.</summary>
internal static class TargetingCheck
{
    private static readonly JsonNamingPolicy Snake = JsonNamingPolicy.SnakeCaseLower;

    public static void Run(TargetingCase subject)
    {
        DoraSharp.ModelDescription model = TargetingTree.Read(Path.Combine(subject.Folder, "trees", subject.Tree + ".json"));
        if (subject.Reason is { } reason)
        {
            Refusal(subject, model, reason);
            return;
        }

        LoraOptions options = TargetingConfig.Read(subject.Config);
        TargetMatch match = TargetMatcher.Match(model, options, allowUnmatched: true);
        Sites(subject, match);
        Names(subject.Expected, "modules_to_save").Should().BeEquivalentTo(match.ModulesToSave);
        Names(subject.Expected, "trainable_base_parameters").Should().BeEquivalentTo(match.TrainedBiases);
        Unmatched(subject, match);
        Rewritten(subject, options, match.RewrittenOptions);
        RefusesUnmatched(subject, model, options);
    }

    /// <summary>
    /// PEFT refuses. So must this library, for the same reason; or it says of its own accord that PEFT would refuse.
    /// Where PEFT's error is a defect of its own there is only a result, or an error that says why.
    /// </summary>
    private static void Refusal(TargetingCase subject, DoraSharp.ModelDescription model, string reason)
    {
        string[] found;
        try
        {
            TargetMatch match = TargetMatcher.Match(model, TargetingConfig.Read(subject.Config), allowUnmatched: true);
            found = [.. match.BeyondPeft.Select(static refusal => Snake.ConvertName(refusal.Reason.ToString()))];
        }
        catch (ArgumentException e)
        {
            e.Message.Should().NotBeNullOrWhiteSpace();
            found = [e is TargetingException refused ? Snake.ConvertName(refused.Reason.ToString()) : e.ParamName is "Rank" or "RankPattern" ? "bad_rank" : e.ToString()];
        }

        if (!reason.StartsWith("peft_", StringComparison.Ordinal))
        {
            found.Should().Contain(reason);
        }
    }

    private static void Sites(TargetingCase subject, TargetMatch match)
    {
        JsonElement[] expected = [.. subject.Expected.GetProperty("matched").EnumerateArray()];
        if (subject.IsPeftBug)
        {
            // PEFT may put a second adapter on a layer, which nothing uses.
            expected = [.. expected.DistinctBy(Place)];
        }

        match.Sites.Select(static site => (site.Path, site.Parameter)).Should().Equal(expected.Select(Place));
        foreach ((TargetSite site, JsonElement wanted) in match.Sites.Zip(expected))
        {
            string kind = site.Kind == LayerKind.TransposedLinear ? "Conv1D" : site.Kind.ToString();
            kind.Should().Be(wanted.GetProperty("kind").GetString(), site.FullName);
            site.DiskPath.Should().Be(Text(wanted, "disk_path") ?? site.Path, site.FullName);
            site.Options.Rank.Should().Be(wanted.GetProperty("r").GetInt32(), site.FullName);
            site.Options.Alpha.Should().Be(wanted.GetProperty("alpha").GetDouble(), site.FullName);
            site.Options.Scaling.Should().BeApproximately(wanted.GetProperty("scaling").GetDouble(), 1e-12, site.FullName);
            site.Tensors.ToDictionary(static tensor => tensor.Key, static tensor => string.Join(",", tensor.Value)).Should().Equal(
                wanted.GetProperty("tensors").EnumerateObject().ToDictionary(static tensor => tensor.Name, static tensor => string.Join(",", tensor.Value.EnumerateArray())), site.FullName);
        }

        if (expected.Length == subject.Expected.GetProperty("matched").GetArrayLength() && subject.Expected.TryGetProperty("trainable_parameters", out JsonElement count))
        {
            match.TrainableParameterCount.Should().Be(count.GetInt64());
        }
    }

    private static (string Path, string? Parameter) Place(JsonElement site) => (site.GetProperty("path").GetString()!, Text(site, "parameter"));

    private static void Unmatched(TargetingCase subject, TargetMatch match)
    {
        string[] expected = !subject.Expected.TryGetProperty("silent_miss", out JsonElement fields)
            ? []
            : [.. fields.EnumerateObject().SelectMany(static field => field.Value.EnumerateArray().Select(entry => $"{field.Name}: {Shown(entry)}"))];
        match.Unmatched.Select(static entry => $"{Snake.ConvertName(entry.Field)}: {entry.Entry}").Should().BeEquivalentTo(expected);
    }

    private static void Rewritten(TargetingCase subject, LoraOptions given, LoraOptions rewritten)
    {
        JsonElement fields = subject.Expected.TryGetProperty("rewritten_config", out JsonElement changed) ? changed : default;
        rewritten.FanInFanOut.Should().Be(Field("fan_in_fan_out") is { } layout ? layout.GetBoolean() : given.FanInFanOut);
        Targets(rewritten.TargetModules).Should().BeEquivalentTo(Targets(Field("target_modules") is { } modules ? TargetingConfig.Modules(modules)! : given.TargetModules));
        rewritten.TargetParameters.Should().BeEquivalentTo(Field("target_parameters") is { } parameters ? Texts(parameters) : given.TargetParameters);
        Shown(rewritten.RankPattern).Should().Equal(Field("rank_pattern") is { } ranks ? Patterns(ranks) : Shown(given.RankPattern));
        Shown(rewritten.AlphaPattern).Should().Equal(Field("alpha_pattern") is { } alphas ? Patterns(alphas) : Shown(given.AlphaPattern));
        if (Field("modules_to_save") is { } saved)
        {
            rewritten.ModulesToSave.Should().Equal(Texts(saved));
        }
        else if (given.ModulesToSave.Count == 0)
        {
            rewritten.ModulesToSave.Should().BeEmpty();
        }

        JsonElement? Field(string name) => fields.ValueKind == JsonValueKind.Object && fields.TryGetProperty(name, out JsonElement value) ? value : null;
    }

    /// <summary>By default an entry that PEFT passes over without a word is refused, where it makes the adapter smaller than asked for.</summary>
    private static void RefusesUnmatched(TargetingCase subject, DoraSharp.ModelDescription model, LoraOptions options)
    {
        JsonElement missed = subject.Expected.TryGetProperty("silent_miss", out JsonElement fields) ? fields : default;
        JsonElement rewritten = subject.Expected.TryGetProperty("rewritten_config", out JsonElement changed) ? changed : default;
        bool becameParameters = rewritten.ValueKind == JsonValueKind.Object && rewritten.TryGetProperty("target_parameters", out _);
        bool isRefused = Names(missed, "target_modules").Any(entry => !becameParameters || Names(rewritten, "target_modules").Contains(entry))
            || Names(missed, "target_parameters").Length > 0
            || Names(missed, "modules_to_save").Any(entry => Names(subject.Config, "modules_to_save").Contains(entry));
        IsRefused(model, options).Should().Be(isRefused, "an entry without a match is refused, and nothing else");
    }

    private static bool IsRefused(DoraSharp.ModelDescription model, LoraOptions options)
    {
        try
        {
            TargetMatcher.Match(model, options, allowUnmatched: false);
            return false;
        }
        catch (TargetingException e) when (e.Reason == TargetingError.NoMatch)
        {
            return true;
        }
    }

    private static string[] Targets(TargetModules modules) => modules.Pattern is { } pattern ? [pattern] : [.. modules.Names.Distinct()];

    private static string[] Patterns(JsonElement patterns) => [.. patterns.EnumerateObject().Select(static pattern => $"{pattern.Name}: {pattern.Value}")];

    private static string[] Shown<T>(IEnumerable<KeyValuePair<string, T>> patterns) =>
        [.. patterns.Select(static pattern => string.Create(CultureInfo.InvariantCulture, $"{pattern.Key}: {pattern.Value}"))];

    private static string Shown(JsonElement entry) => entry.ValueKind == JsonValueKind.String ? entry.GetString()! : entry.GetRawText();

    private static string? Text(JsonElement element, string name) => element.TryGetProperty(name, out JsonElement value) ? value.GetString() : null;

    private static string[] Texts(JsonElement element) => [.. element.EnumerateArray().Select(static text => text.GetString()!)];

    private static string[] Names(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Array ? Texts(value) : [];
}
