namespace DoraSharp.Tests.Targeting;

public class TargetMatcherTests
{
    private static readonly TargetCandidate[] Llama =
    [
        Container("model"), Container("model.layers"), Container("model.layers.0"), Container("model.layers.0.self_attn"),
        Linear("model.layers.0.self_attn.q_proj"), Linear("model.layers.0.self_attn.v_proj"), Linear("model.layers.0.mlp.up_proj"),
        Linear("model.layers.1.self_attn.q_proj"), Linear("model.layers.1.self_attn.v_proj"), Linear("model.layers.1.mlp.xup_proj"),
        Linear("model.layers.10.self_attn.q_proj"), Linear("lm_head"),
    ];

    [Fact]
    public void Match_List_MatchesWholePathsAndSuffixesBehindADot() =>
        Paths(new() { TargetModules = ["up_proj", "lm_head", "0.self_attn.v_proj"] })
            .Should().Equal("model.layers.0.self_attn.v_proj", "model.layers.0.mlp.up_proj", "lm_head");

    [Fact]
    public void Match_Pattern_MustMatchTheWholePath()
    {
        Paths(new() { TargetModules = @".*\.[01]\.self_attn\.(q|v)_proj" }).Should().HaveCount(4);
        FluentActions.Invoking(() => Paths(new() { TargetModules = "q_proj" })).Should().Throw<ArgumentException>().WithMessage("*q_proj*");
        FluentActions.Invoking(() => new LoraOptions { TargetModules = "(q_proj" }).Should().Throw<ArgumentException>().WithMessage("*regular expression*[\"(q_proj\"]*");
    }

    [Theory]
    [InlineData("all-linear")]
    [InlineData("ALL-LINEAR")]
    public void Match_AllLinear_LeavesTheHeadOut(string text) =>
        Paths(new() { TargetModules = text }).Should().HaveCount(7).And.NotContain("lm_head");

    [Fact]
    public void Match_Exclusions_ComeFirst()
    {
        Paths(new() { ExcludeModules = ["self_attn.q_proj", "xup_proj"] }).Should().HaveCount(3);
        Paths(new() { ExcludeModules = @"model\.layers\.0\..*" }).Should().HaveCount(4);
    }

    [Fact]
    public void Match_Patterns_TheFirstThatMatchesDecides()
    {
        LoraOptions options = new()
        {
            TargetModules = ["q_proj"],
            RankPattern = [new(@"layers\.1\.self_attn\.q_proj", 3), new("q_proj", 5), new("k_proj", 7)],
            AlphaPattern = [new(@"^model\.layers\.10\..*", 32)],
        };
        TargetMatch match = TargetMatcher.Match(Llama, options, allowUnmatched: false);

        match.Sites.Select(s => (s.Value.Rank, s.Value.Alpha)).Should().Equal((5, 8), (3, 8), (5, 32));
        match.Unmatched.Should().Equal("RankPattern: 'k_proj'");
    }

    [Fact]
    public void Match_UnmatchedEntries_AreReported()
    {
        LoraOptions options = new() { TargetModules = ["q_proj", "qkv"], ExcludeModules = ["lm_haed"] };
        TargetMatcher.Match(Llama, options, allowUnmatched: true).Unmatched.Should().Equal("TargetModules: 'qkv'", "ExcludeModules: 'lm_haed'");
        FluentActions.Invoking(() => TargetMatcher.Match(Llama, options, allowUnmatched: false)).Should().Throw<ArgumentException>().WithMessage("*'qkv'*q_proj*");
    }

    [Fact]
    public void Match_Container_IsRefusedByItsType() =>
        FluentActions.Invoking(() => Paths(new() { TargetModules = ["self_attn"] })).Should().Throw<ArgumentException>().WithMessage("*model.layers.0.self_attn*Container*");

    [Fact]
    public void TargetModules_EmptyOrNull_AreRefused()
    {
        FluentActions.Invoking(() => TargetModules.Create()).Should().Throw<ArgumentException>();
        FluentActions.Invoking(() => TargetModules.Create("a", "")).Should().Throw<ArgumentException>();
        FluentActions.Invoking(() => TargetModules.FromPattern("")).Should().Throw<ArgumentException>();
        FluentActions.Invoking(() => new LoraOptions { TargetModules = null! }).Should().Throw<ArgumentNullException>();
    }

    private static IEnumerable<string> Paths(LoraOptions options) =>
        TargetMatcher.Match(Llama, options, allowUnmatched: false).Sites.Select(site => site.Key);

    private static TargetCandidate Linear(string path) => new(path, "Linear", true);

    private static TargetCandidate Container(string path) => new(path, "Container", false);
}
