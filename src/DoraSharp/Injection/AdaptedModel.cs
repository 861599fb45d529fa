using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The handle to the adapters of a model. The model itself was changed in place and is used as before: its own
/// forward, <c>train()</c>, <c>to(...)</c> and <c>state_dict()</c> include the adapters.
/// </summary>
/// <remarks>Disposing the handle takes the adapters out of the model: see <see cref="Unload"/>.</remarks>
public sealed partial class AdaptedModel : IDisposable
{
    private readonly Installation installation;
    private readonly SwappedParameters swapped = new();
    private readonly InjectionOptions injection;
    private readonly List<KeyValuePair<string, InstalledAdapter>> adapters = [];
    private string[] active = [];
    private readonly List<SampleAdapters> mixed = [];
    private Untying? untying;
    private int disabled;
    private bool unloaded;

    internal AdaptedModel(nn.Module model, InjectionOptions injection)
    {
        Model = model;
        this.injection = injection;
        installation = new Installation(model);
        installation.OnRemoval(swapped.Dispose);
    }

    /// <summary>The adapted model.</summary>
    public nn.Module Model { get; }

    /// <summary>The adapters' names, in the order in which they were added.</summary>
    public IReadOnlyList<string> AdapterNames => [.. adapters.Select(adapter => adapter.Key)];

    /// <summary>The names of the active adapters, in the order of activation.</summary>
    public IReadOnlyList<string> ActiveAdapters => active;

    /// <summary>The name of the first adapter.</summary>
    public string AdapterName => adapters[0].Key;

    /// <summary>The options of the first adapter.</summary>
    public AdapterOptions Options => adapters[0].Value.Options;

    /// <summary>What was adapted by the first adapter, by which route, and what matched nothing.</summary>
    public InjectionReport Report => adapters[0].Value.Report;

    /// <summary>The adapted weights' adapters, by path, in the order in which they were adapted.</summary>
    /// <exception cref="ObjectDisposedException">The adapters were taken out of the model.</exception>
    public IReadOnlyList<KeyValuePair<string, AdapterStack>> Layers
    {
        get
        {
            RefuseIfUnloaded();
            return [.. installation.Layers.Select(layer => KeyValuePair.Create(layer.Path, layer.Stack))];
        }
    }

    internal IReadOnlyList<InstalledLayer> InstalledLayers => installation.Layers;

    internal SwappedParameters Swapped => swapped;

    internal VeraProjections? ProjectionsOf(string adapterName) => Find(adapterName).Projections;

    /// <summary>An adapter's tensors as its file has them.</summary>
    internal IEnumerable<PeftTensor> TensorsOf(string adapterName) => new AdapterTensors(this, adapterName).ToFile();

    /// <summary>True while the adapters of one layer or more are folded into its base weight.</summary>
    public bool IsMerged => !unloaded && installation.Layers.Any(layer => layer.Stack.IsMerged);

    /// <summary>The options of an adapter.</summary>
    /// <param name="adapterName">Its name.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    public AdapterOptions OptionsOf(string adapterName) => Find(adapterName).Options;

    /// <summary>What an adapter adapted, by which route, and what matched nothing.</summary>
    /// <param name="adapterName">Its name.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    public InjectionReport ReportOf(string adapterName) => Find(adapterName).Report;

    // A list: an optimizer asks for its group's parameters at every step, and one that is added later has no state there.

    /// <summary>The parameters that train, for an optimizer. Ask after <c>model.to(...)</c>, which replaces them.</summary>
    public IEnumerable<Parameter> TrainableParameters() =>
        [.. Layers.SelectMany(layer => layer.Value.parameters()).Where(parameter => parameter.requires_grad), .. swapped.Training()];

    /// <summary>Adapts a model with an adapter that was trained before, here or by PEFT.</summary>
    /// <param name="model">A model with the layers that the adapter was trained on.</param>
    /// <param name="folder">The folder that <see cref="Save"/> or PEFT wrote.</param>
    /// <param name="injection">How to go about it; its adapter name other than <c>default</c> is looked for in a subfolder.</param>
    /// <returns>The handle to the model's adapters. They train, unless the caller freezes them.</returns>
    /// <exception cref="IOException">The folder or a file of it is missing.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or not supported, or its tensors are missing, unexpected or misshapen for this model; the model is as it was.</exception>
    /// <exception cref="ArgumentException">The adapter's targets are not in the model.</exception>
    /// <exception cref="InvalidOperationException">As for <see cref="AdapterInjector.Inject"/>.</exception>
    public static AdaptedModel Load(nn.Module model, string folder, InjectionOptions? injection = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        injection ??= new();
        using PeftFolder file = PeftFolder.Read(folder, injection.AdapterName);
        InjectionPlan.RefuseAdapted(model);
        AdaptedModel adapted = new(model, injection);
        try
        {
            adapted.AddFrom(injection.AdapterName, file);
            return adapted;
        }
        catch
        {
            adapted.Dispose();
            throw;
        }
    }

    /// <summary>Loads the values of the first adapter from a folder.</summary>
    /// <inheritdoc cref="Load(string, string)"/>
    public void Load(string folder) => Load(folder, AdapterName);

    /// <summary>Loads the values of an adapter from a folder.</summary>
    /// <param name="folder">The folder that <see cref="Save"/> or PEFT wrote for an adapter with the same options.</param>
    /// <param name="adapterName">The adapter.</param>
    /// <exception cref="IOException">The folder or a file of it is missing.</exception>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="InvalidDataException">
    /// A file is damaged, the adapter has other options, or its tensors are missing, unexpected or misshapen. Nothing was changed.
    /// </exception>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void Load(string folder, string adapterName)
    {
        RefuseIfMerged("load an adapter");
        InstalledAdapter adapter = Find(adapterName);
        using PeftFolder file = PeftFolder.Read(folder, adapterName);
        if (!IsSameUpdate(adapter.Options, file.Options))
        {
            throw new InvalidDataException(
                $"The adapter in '{file.Path}' has other options than the model's: {file.Options.Summary}, not {adapter.Options.Summary}. Nothing was loaded. " +
                $"Use {nameof(HotSwap)}, or take the model's adapters out (Unload) and use {nameof(AdaptedModel)}.{nameof(Load)}(model, folder).");
        }

        LoadedTensors loaded = new AdapterTensors(this, adapterName).CopyFrom(file, injection.AllowMismatchedTensors);
        Replace(adapterName, adapter with { Metadata = file.Metadata, Report = adapter.Report with { File = loaded } });
    }

    /// <summary>
    /// Saves an adapter as a Hugging Face PEFT folder. Both files are written under temporary names and then moved into place.
    /// </summary>
    /// <param name="folder">The folder; an adapter with another name than <c>default</c> goes to a subfolder of its name.</param>
    /// <param name="about">What the configuration says besides; <see langword="null"/> for what a loaded adapter's said.</param>
    /// <param name="adapterName">The adapter; <see langword="null"/> for the first one.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="IOException">A file cannot be written; what was there is still there.</exception>
    public void Save(string folder, PeftMetadata? about = null, string? adapterName = null)
    {
        RefuseIfUnloaded();
        adapterName ??= AdapterName;
        InstalledAdapter adapter = Find(adapterName);
        using var scope = NewDisposeScope();
        Write(folder, adapterName, adapter, about, adapter.Options, TensorsOf(adapterName));
    }

    /// <summary>Folds the active adapters into the base weights. <see cref="Unmerge"/> brings their bits back.</summary>
    /// <remarks>A weight that is shared with a layer that is not adapted (a tied embedding) is separated from it: that layer keeps its weight.</remarks>
    /// <param name="safe">Refuse results that are not finite.</param>
    /// <param name="requantize">
    /// Quantize the merged weights of quantized layers again: small, but for an error of several percent of each weight. By
    /// default such a layer becomes dense for as long as it is merged.
    /// </param>
    /// <returns>How exactly each layer holds its merged weight.</returns>
    /// <exception cref="InvalidOperationException">
    /// The adapters are merged already, a result is not finite or cannot be quantized again, or a weight is shared with something that cannot be given a copy. Nothing was changed.
    /// </exception>
    public MergeReport Merge(bool safe = true, bool requantize = false)
    {
        RefuseIfUnloaded();
        return MergeAll(Layers, safe, requantize);
    }

    /// <summary>Restores the base weights bit for bit.</summary>
    /// <exception cref="InvalidOperationException">The adapters are not merged.</exception>
    public void Unmerge()
    {
        if (!IsMerged)
        {
            throw new InvalidOperationException("The adapters are not merged.");
        }

        foreach ((_, AdapterStack stack) in Layers.Where(layer => layer.Value.IsMerged))
        {
            stack.Unmerge();
        }

        untying?.Dispose();
        untying = null;
    }

    /// <summary>
    /// Folds the active adapters into the base weights for good and takes the library out of the model: its modules
    /// are the original ones, with merged weights, and run as fast as they did. A quantized layer becomes a <c>Linear</c>,
    /// unless it is quantized again.
    /// </summary>
    /// <param name="safe">Refuse results that are not finite.</param>
    /// <param name="requantize">As for <see cref="Merge"/>.</param>
    /// <returns>How exactly each layer holds its merged weight.</returns>
    /// <exception cref="InvalidOperationException">As for <see cref="Merge"/>, or something that holds a quantized layer cannot hold a dense one; nothing was changed.</exception>
    public MergeReport MergeAndUnload(bool safe = true, bool requantize = false)
    {
        RefuseIfUnloaded();
        InstalledLayer[] open = [.. installation.Layers.Where(layer => !layer.Stack.IsMerged)];
        DenseLayers.RefuseUnholdable(installation.Layers.Where(layer => layer.Stack.IsMerged || (!requantize && layer.Stack.Active.Count > 0)));
        MergeAll([.. open.Select(layer => KeyValuePair.Create(layer.Path, layer.Stack))], safe, requantize);
        MergeReport report = new([.. installation.Layers.Select(layer => layer.Stack.MergedAs! with { Path = layer.Path })]);
        PlannedSite[] sites = [.. installation.Layers.Select(layer => layer.Site)];
        untying?.Keep();
        untying = null;
        foreach ((_, AdapterStack stack) in Layers)
        {
            stack.ForgetAdjustments();
            stack.ForgetOriginal();
        }

        swapped.Keep();
        Unload();
        DenseLayers.PutIn(sites);
        return report;
    }

    /// <summary>
    /// Takes the adapters out of the model: its modules are the original ones, and what trained before the injection
    /// trains again. Merged weights are restored first. Does nothing when called twice.
    /// </summary>
    public void Unload()
    {
        if (unloaded)
        {
            return;
        }

        if (IsMerged)
        {
            Unmerge();
        }

        unloaded = true;
        installation.Dispose();
    }

    /// <inheritdoc cref="Unload"/>
    public void Dispose() => Unload();

    /// <summary>Adds an adapter by a plan that was made for it; it is not active unless it is the first.</summary>
    internal InjectionReport Add(string name, InjectionPlan plan, PeftMetadata? metadata = null)
    {
        RefuseAdding(name);
        PlannedSite[] fresh = [.. plan.Sites.Where(site => !installation.Has(site))];
        Dictionary<PlannedSite, RouteChoice> routes = fresh.Zip(RouteChoice.For(Model, fresh, injection)).ToDictionary(pair => pair.First, pair => pair.Second);
        VeraProjections? projections = plan.SavedOptions is VeraOptions vera ? AddProjections(name, vera, plan.Sites) : null;
        try
        {
            installation.Add(name, plan.Sites, site => routes[site], (layer, site) => AddTo(layer, site, name, plan, projections));
        }
        catch
        {
            RemoveProjections(projections);
            throw;
        }

        swapped.Add(name, plan.Trained, plan.SavedOptions is LoraOptions { EnsureWeightTying: true });
        Settle();
        adapters.Add(new(name, new(plan.SavedOptions, MakeReport(name, plan), metadata ?? new(), projections)));
        if (adapters.Count == 1)
        {
            Activate(name);
        }

        return Find(name).Report;
    }

    /// <summary>Makes sure that a forward pass reaches every layer of an adapter.</summary>
    internal void CheckReach(string adapterName)
    {
        if (injection.Probe is { } probe)
        {
            ReachCheck.Run(LayersOf(adapterName), adapterName, probe);
        }
    }

    private static bool IsSameUpdate(AdapterOptions a, AdapterOptions b) => (a, b) switch
    {
        (LoraOptions x, LoraOptions y) => (x.UseDora, x.Rank, x.Alpha, x.UseRsLora, x.LoraBias) == (y.UseDora, y.Rank, y.Alpha, y.UseRsLora, y.LoraBias)
            && (x.DoublesAttentionOutput || !y.DoublesAttentionOutput)
            && (x.Initialization == y.Initialization || !y.Initialization.ChangesBase)
            && x.RankPattern.SequenceEqual(y.RankPattern)
            && x.AlphaPattern.SequenceEqual(y.AlphaPattern),
        (VeraOptions x, VeraOptions y) => (x.UseDora, x.Rank) == (y.UseDora, y.Rank) && (x.ProjectionKey == y.ProjectionKey || y.SaveProjection),
        _ => false,
    };

    private void AddFrom(string name, PeftFolder file, IReadOnlyList<string>? activeAfterwards = null)
    {
        // The file's tensors say whether anything is missing: an entry that names nothing here is only reported.
        InjectionPlan plan = InjectionPlan.Make(Model, file.Options, injection with { AllowUnmatchedTargets = true }, name) with { SavedOptions = file.Options, Initializes = NeedsItsBase(file) };
        RefuseRanksAboveTheFiles(plan.Sites, file);
        (int Steps, int Layers) mark = installation.Mark;
        Add(name, plan, file.Metadata);
        try
        {
            swapped.RefuseConflicts(activeAfterwards ?? []);
            LoadedTensors loaded = new AdapterTensors(this, name).CopyFrom(file, injection.AllowMismatchedTensors);
            CheckReach(name);
            InstalledAdapter adapter = Find(name);
            Replace(name, adapter with { Report = adapter.Report with { File = loaded } });
        }
        catch
        {
            Remove(name);
            installation.RollBack(mark);
            throw;
        }
    }

    /// <summary>Whether the base weight that a saved adapter was trained over has to be made again.</summary>
    /// <exception cref="InvalidDataException">It has to be, and cannot be.</exception>
    private bool NeedsItsBase(PeftFolder file)
    {
        if (file.Options is not LoraOptions { Initialization: { ChangesBase: true } start } || injection.BaseIsAdjusted)
        {
            return false;
        }

        bool isRepeatable = start.Iterations == 0 && (!start.NeedsData || injection.InitializationData?.Method == start);
        return isRepeatable
            ? true
            : throw new InvalidDataException(
                $"The adapter in '{file.Path}' was trained over a base weight that the initialization {start} left, which cannot be made again from the file. " +
                $"Load it into a model with those weights and {nameof(InjectionOptions)}.{nameof(InjectionOptions.BaseIsAdjusted)}, or have it saved for the original base ({nameof(SavePlain)}). Nothing was loaded.");
    }

    private void AddTo(InstalledLayer layer, PlannedSite site, string name, InjectionPlan plan, VeraProjections? projections)
    {
        AdapterStack stack = layer.Stack;
        stack.RefuseAdding(name, site.Options);
        if (layer.Choice.Route == InjectionRoute.SubstituteWeight && site.Options is LoraOptions { LoraBias: true })
        {
            throw new NotSupportedException(
                $"{layer.Path} is invoked by forward(...), so that only its weight can be given an effective value: {nameof(LoraOptions.LoraBias)} cannot act there. " +
                "Invoke it by call(...), declare its field as Module<Tensor, Tensor>, or leave it out by ExcludeModules. Nothing was changed.");
        }

        Adapter? source = site.TiedTo is { } path ? installation.Layers.First(other => other.Site.Node.Path == path).Stack[name] : null;
        switch (site)
        {
            case { Tokens: { } tokens }:
                stack.Attach(name, new TokenAdapter(site.Options, tokens, stack.Weight, stack.Geometry, source as TokenAdapter));
                break;
            case { Options: VeraOptions vera }:
                stack.Attach(name, new VeraAdapter(vera, stack.Weight, stack.Geometry, projections!));
                break;
            case { Options: LoraOptions lora } when source is LoraAdapter embedding:
                if (lora.UseDora)
                {
                    throw new NotSupportedException($"{site.Path} shares the weight of {site.TiedTo}; DoRA's magnitudes of the two differ, so {nameof(LoraOptions.EnsureWeightTying)} cannot hold. Use LoRA, or leave one of the two out.");
                }

                stack.Attach(name, new TiedLoraAdapter(embedding, stack.Geometry));
                break;
            case { Options: LoraOptions { Initialization.ChangesBase: true } changing } when plan.Initializes && !injection.BaseIsAdjusted && stack.Kind != LayerKind.Embedding:
                TiedWeights.RefuseChange(Model, installation.Layers, layer, $"The initialization {changing.Initialization}");
                goto default;
            default:
                using (NewDisposeScope())
                {
                    stack.Add(name, (LoraOptions)site.Options, DataOf(layer, (LoraOptions)site.Options), plan.Initializes && !injection.BaseIsAdjusted);
                }

                break;
        }
    }

    // The projections are as wide as the widest layer that they serve.
    private VeraProjections AddProjections(string name, VeraOptions options, IReadOnlyList<PlannedSite> sites)
    {
        (long Outputs, long Inputs)[] shapes = [.. sites.Select(site => LayerKinds.MatrixShape(site.Layer))];
        nn.Module first = sites[0].Layer;
        VeraProjections projections = new(options, shapes.Max(shape => shape.Inputs), shapes.Max(shape => shape.Outputs), Adapter.ParameterType(LayerKinds.TypeOf(first)), first.parameters().First().device);
        if (Model.named_children().Any(child => child.name == NameOfProjections(name)))
        {
            projections.Dispose();
            throw new InvalidOperationException($"The projections of '{name}' would be registered as '{NameOfProjections(name)}', but the model has such a module already. Nothing was changed.");
        }

        ModuleInternals.Children(Model).Add(NameOfProjections(name), projections);
        installation.OnRemoval(() => RemoveProjections(projections));
        return projections;
    }

    private void RemoveProjections(VeraProjections? projections)
    {
        if (projections is not null && NameOf(projections) is { } name)
        {
            ModuleInternals.Children(Model).Remove(name);
            projections.Dispose();
        }
    }

    private string? NameOf(VeraProjections projections) =>
        Model.named_children().Where(child => ReferenceEquals(child.module, projections)).Select(child => child.name).FirstOrDefault();

    private static string NameOfProjections(string adapterName) => $"vera_projections_{adapterName}";

    private Tensor? DataOf(InstalledLayer layer, LoraOptions options)
    {
        if (options.Initialization == LoraInitialization.Loftq && layer.Stack.Weight is { Quantization: not null } quantized)
        {
            Tensor? original = injection.OriginalWeight?.Invoke(layer.Path);
            return original is null || original.shape.SequenceEqual(quantized.Shape)
                ? original
                : throw new ArgumentException($"{nameof(InjectionOptions.OriginalWeight)} gave [{string.Join(", ", original.shape)}] for {layer.Path}, whose weight is [{string.Join(", ", quantized.Shape)}]. Nothing was changed.");
        }

        if (injection.InitializationData is not { } data || data.Method != options.Initialization || !data.Paths.Contains(layer.Path))
        {
            return null;
        }

        // A gradient has the shape of the weight as it is stored.
        return data.Method == LoraInitialization.LoraGa ? layer.Stack.Weight.ToMatrix(data[layer.Path]) : data[layer.Path];
    }

    private static IEnumerable<string> CautionsAbout(AdaptedSite site)
    {
        if (site is { Route: InjectionRoute.SubstituteWeight, Options.Dropout: > 0 })
        {
            yield return $"{site.Path} runs on a substituted weight, where dropout has no effect: declare its field as Module<Tensor, Tensor>, or invoke it by call(...).";
        }

        if (site is { Kind: LayerKind.Embedding, Options: LoraOptions { Initialization: var start } } && (start.ChangesBase || start.NeedsData || start == LoraInitialization.Orthogonal))
        {
            yield return $"{site.Path} is an embedding and starts as by default; the initialization {start} is for other layers.";
        }
    }

    // A configuration must not make anything larger than its file's tensors.
    private static void RefuseRanksAboveTheFiles(IReadOnlyList<PlannedSite> sites, PeftFolder folder)
    {
        long largest = folder.Tensors.SelectMany(tensor => tensor.Value.shape).DefaultIfEmpty(0).Max();
        if (sites.FirstOrDefault(site => site.Options.Rank > largest) is { } site)
        {
            throw new InvalidDataException(
                $"The configuration in '{folder.Path}' asks for {site.Options.Summary} at {site.Path}; no tensor in the file has a dimension of that size. Nothing was loaded.");
        }
    }

    /// <summary>Writes an adapter's tensors in the dtype that its metadata ask for.</summary>
    private static void Write(string folder, string adapterName, InstalledAdapter adapter, PeftMetadata? about, AdapterOptions options, IEnumerable<PeftTensor> tensors)
    {
        ScalarType? type = about?.TensorType ?? adapter.Metadata.TensorType;
        PeftFolder.Write(folder, options, type is { } t ? [.. tensors.Select(tensor => tensor.Value.is_floating_point() ? tensor with { Value = tensor.Value.to(t) } : tensor)] : tensors, about ?? adapter.Metadata, adapterName);
    }

    private MergeReport MergeAll(IReadOnlyList<KeyValuePair<string, AdapterStack>> layers, bool safe, bool requantize)
    {
        // A stack that was merged by hand has separated nothing.
        if (untying is not null)
        {
            return MergePlan.Run(layers, safe, requantize);
        }

        Untying separated = TiedWeights.Separate(Model, installation.Layers);
        try
        {
            MergeReport report = MergePlan.Run(layers, safe, requantize);
            untying = separated;
            return report;
        }
        catch
        {
            separated.Dispose();
            throw;
        }
    }

    private InstalledAdapter Find(string name)
    {
        int index = adapters.FindIndex(adapter => adapter.Key == name);
        return index >= 0
            ? adapters[index].Value
            : throw new KeyNotFoundException($"There is no adapter '{name}'; there are: {(adapters.Count == 0 ? "none" : string.Join(", ", AdapterNames))}.");
    }

    private void Replace(string name, InstalledAdapter adapter, string? newName = null)
    {
        int index = adapters.FindIndex(entry => entry.Key == name);
        adapters[index] = new(newName ?? name, adapter);
    }

    private void RefuseAdding(string name)
    {
        DoraSharp.AdapterName.Check(name);
        RefuseIfMerged("add an adapter");
        if (adapters.Exists(adapter => adapter.Key == name))
        {
            throw new ArgumentException($"There is an adapter '{name}' already; delete it first or take another name.", nameof(name));
        }
    }

    private void RefuseIfMerged(string action)
    {
        foreach ((_, AdapterStack stack) in Layers)
        {
            stack.RefuseIfMerged(action);
        }
    }

    private void RefuseIfUnloaded() => ObjectDisposedException.ThrowIf(unloaded, this);

    private InjectionReport MakeReport(string name, InjectionPlan plan)
    {
        AdaptedSite[] sites =
        [
            .. installation.Layers.Where(layer => layer.Stack.Find(name) is not null).Select(layer => new AdaptedSite(
                layer.Path,
                layer.Site.Node.Aliases,
                layer.Stack.Kind,
                layer.Choice.Route,
                layer.Stack.Weight.Inputs,
                layer.Stack.Weight.Outputs,
                layer.Stack[name].Options,
                layer.Stack[name].parameters().Sum(p => p.numel()))),
        ];
        return new(sites, plan.LeftAlone, plan.Unmatched, Model.parameters().Sum(p => p.numel())) { Cautions = [.. sites.SelectMany(CautionsAbout)] };
    }
}
