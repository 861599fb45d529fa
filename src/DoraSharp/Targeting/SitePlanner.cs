namespace DoraSharp;

/// <summary>Turns matched modules and parameters into sites, and refuses those that cannot be adapted.</summary>
internal sealed class SitePlanner
{
    private readonly ModelDescription model;
    private readonly LoraOptions options;
    private readonly PatternValues<int> ranks;
    private readonly PatternValues<double> alphas;

    /// <summary>Prepares for a model.</summary>
    /// <exception cref="TargetingException">A rank or alpha pattern is no regular expression.</exception>
    public SitePlanner(ModelDescription model, LoraOptions options)
    {
        this.model = model;
        this.options = options;
        ranks = new(options.RankPattern, options.Rank);
        alphas = new(options.AlphaPattern, options.Alpha);
    }

    /// <summary>What is done although PEFT refuses it.</summary>
    public List<PeftRefusal> BeyondPeft { get; } = [];

    /// <summary>Rank and alpha patterns that match none of the sites.</summary>
    public IEnumerable<UnmatchedEntry> UnmatchedPatterns(IEnumerable<TargetSite> sites)
    {
        string[] names = [.. sites.Select(static site => site.FullName)];
        return ranks.Unmatched(names).Select(static key => new UnmatchedEntry(nameof(LoraOptions.RankPattern), key))
            .Concat(alphas.Unmatched(names).Select(static key => new UnmatchedEntry(nameof(LoraOptions.AlphaPattern), key)));
    }

    /// <summary>The sites of a module: one, or for attention one per projection.</summary>
    /// <exception cref="TargetingException">The module cannot be adapted.</exception>
    public IReadOnlyList<TargetSite> OfModule(ModuleDescription module)
    {
        ForbiddenNames.Check(model.ModelType, module.Path);
        Check(module);
        LoraOptions resolved = At(module.Path);
        if (module.Kind == LayerKind.MultiheadAttention)
        {
            return OfAttention(module, resolved);
        }

        if (options.GroupedUpdate == GroupedUpdate.Peft && resolved.Rank % module.Groups != 0)
        {
            throw new TargetingException(
                TargetingError.RankNotDivisibleByGroups,
                $"{module.Path} is a {module.TypeName} with {module.Groups} groups, which do not divide the rank {resolved.Rank}. Choose a multiple by RankPattern, " +
                $"leave the layer out, or set {nameof(LoraOptions.GroupedUpdate)} to {nameof(GroupedUpdate.Mergeable)}.");
        }

        return [new TargetSite(module.Path, module.Kind, resolved, AdapterShapes.Of(module, resolved))];
    }

    /// <summary>The site of a module that takes part in the adapter of an embedding.</summary>
    public TargetSite Tied(string path, TargetSite embedding)
    {
        ModuleDescription module = model.Find(path)!;
        return new TargetSite(path, module.Kind, embedding.Options, AdapterShapes.Of(module, embedding.Options)) { TiedTo = embedding.Path };
    }

    /// <summary>The sites of a module's parameters. They nest: the first is the innermost in the file.</summary>
    /// <param name="module">The module.</param>
    /// <param name="parameters">Those of its parameters that are adapted, in its order.</param>
    /// <returns>The outermost first.</returns>
    /// <exception cref="TargetingException">A parameter cannot be adapted.</exception>
    public IReadOnlyList<TargetSite> OfParameters(ModuleDescription module, IReadOnlyList<ParameterDescription> parameters)
    {
        List<TargetSite> sites = [];
        for (int i = parameters.Count - 1; i >= 0; i--)
        {
            string name = module.FullName(parameters[i]);
            Check(module, parameters[i], name);
            LoraOptions resolved = At(name);
            sites.Add(new TargetSite(module.Path, LayerKind.Parameter, resolved, AdapterShapes.Parameter(parameters[i].Shape, module.HasTransposedExperts, resolved))
            {
                Parameter = parameters[i].Name,
                DiskPath = module.Path + string.Concat(Enumerable.Repeat(".base_layer", parameters.Count - 1 - i)),
            });
        }

        return sites;
    }

    private LoraOptions At(string name) => options with { Rank = ranks.At(name), Alpha = alphas.At(name), RankPattern = [], AlphaPattern = [] };

    private void Check(ModuleDescription module)
    {
        if (module.Kind == LayerKind.None)
        {
            throw new TargetingException(
                TargetingError.UnsupportedModule,
                $"TargetModules {options.TargetModules} matches {module.Path}, a {module.TypeName}, which cannot be adapted. " +
                "Adapted are linear layers, embeddings, convolutions and attention: name those inside it, or leave it out with ExcludeModules.");
        }

        if (options.LoraBias && module.Kind is (LayerKind.Embedding or LayerKind.MultiheadAttention))
        {
            throw new TargetingException(
                TargetingError.UnsupportedCombination, $"{nameof(LoraOptions.LoraBias)} gives B a bias, which {module.Path}, a {module.TypeName}, cannot have; leave it out with ExcludeModules.");
        }
    }

    private void Check(ModuleDescription module, ParameterDescription parameter, string name)
    {
        if (module.Path.Length == 0 || parameter.Shape.Count is not (2 or 3))
        {
            throw new TargetingException(
                TargetingError.UnsupportedParameter,
                module.Path.Length == 0
                    ? $"TargetParameters matches {name}, a parameter of the model itself, which nothing holds: wrap the model in another module."
                    : $"TargetParameters matches {name} of shape [{string.Join(", ", parameter.Shape)}]; only matrices and stacks of matrices can be adapted.");
        }

        string? clash = options switch
        {
            { Dropout: > 0 } => nameof(LoraOptions.Dropout),
            { UseDora: true } => nameof(LoraOptions.UseDora),
            { LoraBias: true } => nameof(LoraOptions.LoraBias),
            { FanInFanOut: true } => nameof(LoraOptions.FanInFanOut),
            _ => null,
        };
        if (clash is not null)
        {
            throw new TargetingException(
                TargetingError.UnsupportedCombination, $"TargetParameters matches {name}; {clash} has no meaning for a parameter by itself, so leave it at its default.");
        }
    }

    // Patterns see the attention's own path only, and its output projection goes with it.
    private TargetSite[] OfAttention(ModuleDescription module, LoraOptions resolved)
    {
        if (resolved.UseDora)
        {
            Note(module, "DoRA on attention");
        }

        if (module.KeyFeatures is not { } keys || module.ValueFeatures is not { } values)
        {
            return [.. AttentionProjection.Fused.Select(part => part.IsOutput
                ? Projection(part, module.In, model.Find($"{module.Path}.{part.Name}")?.Out ?? module.In)
                : new TargetSite(module.Path, module.Kind, resolved, AdapterShapes.Of(module, resolved)))];
        }

        Note(module, $"keys and values of {keys} and {values} features, queries of {module.In}");
        return [.. AttentionProjection.Separate.Zip([module.In, keys, values, module.In], (part, inputs) => Projection(part, inputs, module.In))];

        TargetSite Projection(AttentionProjection part, long inputs, long outputs) =>
            new($"{module.Path}.{part.Name}", LayerKind.Linear, resolved, AdapterShapes.Matrix(inputs, outputs, resolved))
            {
                ModulePath = module.Path,
                DiskPath = module.Path + part.DiskSuffix,
            };
    }

    private void Note(ModuleDescription module, string what) =>
        BeyondPeft.Add(new(TargetingError.UnsupportedCombination, module.Path, $"{module.Path}: PEFT does not know {what}"));
}
