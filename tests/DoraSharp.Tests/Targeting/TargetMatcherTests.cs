namespace DoraSharp.Tests.Targeting;

/// <summary>What the golden cases do not hold: messages, the rules that are ours, tokens.</summary>
public class TargetMatcherTests
{
    private static readonly ModuleDescription[] Modules =
    [
        Container("model"), Embedding("model.embed_tokens"), Container("model.layers"), Container("model.layers.0"), Container("model.layers.0.self_attn"),
        Linear("model.layers.0.self_attn.q_proj"), Linear("model.layers.0.self_attn.v_proj"), Linear("model.layers.0.mlp.up_proj"),
        Linear("model.layers.1.self_attn.q_proj"), Linear("model.layers.1.self_attn.v_proj"), Linear("model.layers.1.mlp.xup_proj"),
        Linear("model.layers.10.self_attn.q_proj"), Linear("lm_head", 40),
    ];

    private static readonly ModelDescription Llama = new(Container(""), Modules)
    {
        ModelType = "llama",
        InputEmbedding = "model.embed_tokens",
        TiesWordEmbeddings = true,
        TiedParameters = [["model.embed_tokens.weight", "lm_head.weight"]],
    };

    [Fact]
    public void Match_List_MatchesWholePathsAndSuffixesBehindADot() =>
        Paths(new() { TargetModules = ["up_proj", "lm_head", "0.self_attn.v_proj"] })
            .Should().Equal("model.layers.0.self_attn.v_proj", "model.layers.0.mlp.up_proj", "lm_head");

    [Fact]
    public void Match_Pattern_MustMatchTheWholePath()
    {
        Paths(new() { TargetModules = @".*\.[01]\.self_attn\.(q|v)_proj" }).Should().HaveCount(4);
        Refused(new() { TargetModules = "q_proj" }, TargetingError.NoMatch, "*'q_proj'*");
        FluentActions.Invoking(() => new LoraOptions { TargetModules = "(q_proj" }).Should().Throw<ArgumentException>().WithMessage("*regular expression*[\"(q_proj\"]*");
    }

    [Theory]
    [InlineData("all-linear")]
    [InlineData("ALL-LINEAR")]
    public void Match_AllLinearOutputUnknown_LeavesOutHeadsByName(string text) =>
        Paths(new() { TargetModules = text }).Should().HaveCount(7).And.NotContain("lm_head");

    [Fact]
    public void Match_ModelDefault_GoesByTheModelType()
    {
        Paths(new() { TargetModules = TargetModules.ModelDefault }).Should().HaveCount(5);
        ModelDescription unknown = new(Container(""), Modules);
        FluentActions.Invoking(() => TargetMatcher.Match(unknown, new() { TargetModules = TargetModules.ModelDefault }, allowUnmatched: true))
            .Should().Throw<TargetingException>().WithMessage("*ModelType*");
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

        match.Sites.Select(site => (site.Options.Rank, site.Options.Alpha)).Should().Equal((5, 8), (3, 8), (5, 32));
        match.Unmatched.Select(entry => entry.ToString()).Should().Equal("RankPattern: 'k_proj'");
    }

    [Fact]
    public void Match_EntriesWithoutAMatch_AreRefusedOrReported()
    {
        LoraOptions options = new() { TargetModules = ["q_proj", "qkv"], ExcludeModules = ["lm_haed"], ModulesToSave = ["norm"], TargetParameters = ["expert.w"], TrainableTokens = [new("tokenz", 3)] };
        TargetMatcher.Match(Llama, options, allowUnmatched: true).Unmatched.Select(entry => entry.ToString())
            .Should().Equal("TargetModules: 'qkv'", "ExcludeModules: 'lm_haed'", "ModulesToSave: 'norm'", "TargetParameters: 'expert.w'", "TrainableTokens: 'tokenz'");

        Refused(new() { TargetModules = ["q_proj", "qkv"] }, TargetingError.NoMatch, "*TargetModules 'qkv'*q_proj*AllowUnmatchedTargets*");
        Refused(new() { TargetModules = ["q_proj"], ModulesToSave = ["norm"] }, TargetingError.NoMatch, "*ModulesToSave 'norm'*");
        Refused(new() { TargetModules = ["q_proj"], TargetParameters = ["q_proj.weihgt"] }, TargetingError.NoMatch, "*TargetParameters 'q_proj.weihgt'*weight*");
        Refused(new() { TargetModules = ["q_proj"], TrainableTokens = [new("tokenz", 3)] }, TargetingError.NoMatch, "*TrainableTokens 'tokenz'*");
        TargetMatcher.Match(Llama, new() { TargetModules = ["q_proj"], ExcludeModules = ["lm_haed"] }, allowUnmatched: false).Unmatched.Should().ContainSingle();
        TargetMatcher.Match(Llama, new() { TargetModules = ["q_proj"], TaskType = "SEQ_CLS" }, allowUnmatched: false).Unmatched.Should().BeEmpty();
    }

    [Fact]
    public void Match_ExponentialPattern_IsRefusedByNameAndPath()
    {
        LoraOptions options = new() { TargetModules = "((m|o|d|e|l)+)+!" };
        ModelDescription model = new(Container(""), [Linear("model" + new string('l', 400))]);
        FluentActions.Invoking(() => TargetMatcher.Match(model, options, allowUnmatched: true))
            .Should().Throw<TargetingException>().WithMessage("*'((m|o|d|e|l)+)+!'*modelll*nested repetitions*").Which.Reason.Should().Be(TargetingError.InvalidRegex);
    }

    [Fact]
    public void Match_LayersPatternWithAGroup_IsRefused() =>
        Refused(new() { TargetModules = ["q_proj"], LayersToTransform = [1], LayersPattern = ["(layers)"] }, TargetingError.InvalidRegex, "*'(layers)'*(?:...)*");

    [Fact]
    public void Match_ImpossibleRequests_NamePathValueAndWayOut()
    {
        Refused(new() { TargetModules = ["self_attn"] }, TargetingError.UnsupportedModule, "*model.layers.0.self_attn*Container*ExcludeModules*");
        Refused(new() { TargetModules = [] }, TargetingError.NothingRequested, "*");
        Refused(new() { TargetModules = ["lm_head"], ModulesToSave = ["layers"] }, TargetingError.ModulesToSaveRefused, "*model.layers*");
        Refused(new() { TargetModules = ["q_proj"], ModulesToSave = ["attn"] }, TargetingError.ModulesToSaveRefused, "*'attn'*model.layers.0.self_attn*q_proj*");
        Refused(new() { TargetModules = ["q_proj"], TargetParameters = ["0.self_attn.q_proj.weight"] }, TargetingError.ParameterOfAdaptedModule, "*q_proj.weight*");
    }

    [Fact]
    public void Match_TrainableTokens_FollowTiedWeights()
    {
        TargetMatch match = TargetMatcher.Match(Llama, new() { TargetModules = ["q_proj"], TrainableTokens = [new(null, 3, 7)] }, allowUnmatched: false);
        match.TrainableTokens.Select(site => (site.Path, site.TiedTo)).Should().Equal(("model.embed_tokens", null), ("lm_head", "model.embed_tokens"));
        match.TrainableParameterCount.Should().Be((3 * 8 * (24 + 24)) + (2 * 24));

        Refused(new() { TargetModules = ["q_proj"], TrainableTokens = [new("embed_tokens", 40)] }, TargetingError.UnsupportedParameter, "*row 40*model.embed_tokens*40 rows*");
        Refused(new() { TargetModules = ["q_proj"], TrainableTokens = [new("embed_tokens", 4)], ModulesToSave = ["embed_tokens"] }, TargetingError.UnsupportedCombination, "*model.embed_tokens*");
        LoraOptions different = new() { TargetModules = ["q_proj"], TrainableTokens = [new("embed_tokens", 4), new("lm_head", 5)] };
        Refused(different with { EnsureWeightTying = true }, TargetingError.UnsupportedCombination, "*lm_head*model.embed_tokens*");
        TargetMatcher.Match(Llama, different, allowUnmatched: false).TrainableTokens.Should().OnlyContain(site => site.TiedTo == null);
    }

    [Fact]
    public void Match_AttentionBeyondPeft_IsAdaptedAndReported()
    {
        ModuleDescription attention = new("attn", "MultiheadAttention", LayerKind.MultiheadAttention) { In = 6, Out = 6, KeyFeatures = 5, ValueFeatures = 7 };
        ModelDescription model = new(Container(""), [attention, new("attn.out_proj", "Linear", LayerKind.Linear) { In = 6, Out = 6 }]);
        TargetMatch match = TargetMatcher.Match(model, new() { Rank = 2, TargetModules = ["attn"], UseDora = true }, allowUnmatched: false);

        match.Sites.Select(site => $"{site.Path} {string.Join(' ', site.Tensors.Select(tensor => $"[{string.Join(',', tensor.Value)}]"))}").Should().Equal(
            "attn.q_proj [2,6] [6,2] [6]", "attn.k_proj [2,5] [6,2] [6]", "attn.v_proj [2,7] [6,2] [6]", "attn.out_proj [2,6] [6,2] [6]");
        match.BeyondPeft.Should().HaveCount(2).And.OnlyContain(refusal => refusal.Path == "attn");
    }

    [Fact]
    public void Match_MergeableGroupedUpdate_HasTheWeightsShapeAndAnyRank()
    {
        ModuleDescription convolution = new("conv", "Conv2d", LayerKind.Conv2d) { In = 8, Out = 12, Groups = 4, Kernel = [3, 5] };
        LoraOptions options = new() { Rank = 3, TargetModules = ["conv"], GroupedUpdate = GroupedUpdate.Mergeable };
        TargetMatch match = TargetMatcher.Match(new(Container(""), [convolution]), options, allowUnmatched: false);
        match.Sites[0].Tensors["lora_A.weight"].Should().Equal(3, 2, 3, 5);
        match.Sites[0].Tensors["lora_B.weight"].Should().Equal(12, 3, 1, 1);
    }

    [Theory]
    [InlineData("all-linear", "down_proj gate.weight gate_up_proj", 6)]
    [InlineData(@".*experts\.(gate_proj|up_proj)", "gate_up_proj", 6)]
    [InlineData(@".*(down_proj|q_proj)", "down_proj", 3)]
    public void Match_OldNamesOfExperts_BecomeParameters(string pattern, string parameters, int fusedRank)
    {
        ModuleDescription experts = new("mlp.experts", "Experts", LayerKind.None) { Parameters = [new("gate_up_proj", [4, 20, 6]), new("down_proj", [4, 6, 10])] };
        ModuleDescription gate = new("mlp.gate", "Router", LayerKind.None) { Parameters = [new("weight", [4, 6])] };
        ModelDescription model = new(Container(""), [Linear("q_proj"), gate, experts]) { ModelType = "qwen3_moe" };
        TargetMatch match = TargetMatcher.Match(model, new() { Rank = 3, TargetModules = pattern }, allowUnmatched: false);

        match.RewrittenOptions.TargetParameters.Should().Equal(parameters.Split(' '));
        match.Sites.Where(site => site.Parameter is not null).Max(site => site.Options.Rank).Should().Be(fusedRank);
        match.Sites.Should().OnlyContain(site => site.Options.Scaling == 8.0 / 3);
    }

    [Fact]
    public void TargetModules_EmptyListNullAndDefault_AreDifferentThings()
    {
        TargetModules.Create().Should().BeEmpty().And.BeSameAs(TargetModules.None);
        TargetModules.None.Equals(TargetModules.ModelDefault).Should().BeFalse();
        FluentActions.Invoking(() => TargetModules.Create("a", null!)).Should().Throw<ArgumentNullException>();
        FluentActions.Invoking(() => TargetModules.FromPattern("")).Should().Throw<ArgumentException>();
        FluentActions.Invoking(() => new LoraOptions { TargetModules = null! }).Should().Throw<ArgumentNullException>();
    }

    private static void Refused(LoraOptions options, TargetingError reason, string message) =>
        FluentActions.Invoking(() => TargetMatcher.Match(Llama, options, allowUnmatched: false))
            .Should().Throw<TargetingException>().WithMessage(message).Which.Reason.Should().Be(reason);

    private static IEnumerable<string> Paths(LoraOptions options) =>
        TargetMatcher.Match(Llama, options, allowUnmatched: false).Sites.Select(site => site.Path);

    private static ModuleDescription Linear(string path, long output = 24) =>
        new(path, "Linear", LayerKind.Linear) { In = 24, Out = output, Parameters = [new("weight", [output, 24])] };

    private static ModuleDescription Embedding(string path) =>
        new(path, "Embedding", LayerKind.Embedding) { In = 40, Out = 24, Parameters = [new("weight", [40, 24])] };

    private static ModuleDescription Container(string path) => new(path, "Container", LayerKind.None) { IsContainer = path == "model.layers" };
}
