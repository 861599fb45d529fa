using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The handle to the adapters of a model. The model itself was changed in place and is used as before: its own
/// forward, <c>train()</c>, <c>to(...)</c> and <c>state_dict()</c> include the adapters.
/// </summary>
/// <remarks>Disposing the handle takes the adapters out of the model: see <see cref="Unload"/>.</remarks>
public sealed class AdaptedModel : IDisposable
{
    private readonly Installation installation;
    private PeftMetadata metadata = new();
    private bool unloaded;

    internal AdaptedModel(nn.Module model, LoraOptions options, string adapterName, Installation installation, InjectionPlan plan)
    {
        Model = model;
        AdapterName = adapterName;
        Options = options;
        this.installation = installation;
        Report = MakeReport(plan);
    }

    /// <summary>The adapted model.</summary>
    public nn.Module Model { get; }

    /// <summary>The name of the adapter that was injected.</summary>
    public string AdapterName { get; }

    /// <summary>The options of the adapter that was injected.</summary>
    public LoraOptions Options { get; }

    /// <summary>What was adapted, by which route, and what matched nothing.</summary>
    public InjectionReport Report { get; private set; }

    /// <summary>The adapted layers' adapters, by path, in model order.</summary>
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

    /// <summary>True while the adapters of one layer or more are folded into its base weight.</summary>
    public bool IsMerged => !unloaded && installation.Layers.Any(layer => layer.Stack.IsMerged);

    /// <summary>The parameters that train, for an optimizer. Ask after <c>model.to(...)</c>, which replaces them.</summary>
    public IEnumerable<Parameter> TrainableParameters() =>
        Layers.SelectMany(layer => layer.Value.parameters()).Where(parameter => parameter.requires_grad);

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
        injection ??= new();
        using PeftFolder file = PeftFolder.Read(folder, injection.AdapterName);
        LoraOptions options = OptionsOf(file);
        InjectionPlan plan = InjectionPlan.Make(model, options, injection);
        AdapterTensors.RefuseRanksAboveTheFiles(plan.Sites, file);
        AdaptedModel adapted = AdapterInjector.CarryOut(model, options, injection, plan);
        try
        {
            adapted.CopyFrom(file);
            return adapted;
        }
        catch
        {
            adapted.Dispose();
            throw;
        }
    }

    /// <summary>Loads the values of the injected adapter from a folder.</summary>
    /// <param name="folder">The folder that <see cref="Save"/> or PEFT wrote for an adapter with the same options.</param>
    /// <exception cref="IOException">The folder or a file of it is missing.</exception>
    /// <exception cref="InvalidDataException">
    /// A file is damaged, the adapter has other options, or its tensors are missing, unexpected or misshapen. Nothing was changed.
    /// </exception>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void Load(string folder)
    {
        foreach ((_, AdapterStack stack) in Layers)
        {
            stack.RefuseIfMerged("load an adapter");
        }

        using PeftFolder file = PeftFolder.Read(folder, AdapterName);
        LoraOptions options = OptionsOf(file);
        if (!IsSameUpdate(Options, options))
        {
            throw new InvalidDataException(
                $"The adapter in '{file.Path}' has other options than the model's: {Describe(options)}, not {Describe(Options)}. Nothing was loaded. " +
                $"Take the model's adapters out (Unload) and use {nameof(AdaptedModel)}.{nameof(Load)}(model, folder).");
        }

        CopyFrom(file);
    }

    /// <summary>
    /// Saves the injected adapter as a Hugging Face PEFT folder. Both files are written under temporary names and then moved into place.
    /// </summary>
    /// <param name="folder">The folder; an adapter with another name than <c>default</c> goes to a subfolder of its name.</param>
    /// <param name="about">What the configuration says besides; <see langword="null"/> for what a loaded adapter's said.</param>
    /// <exception cref="IOException">A file cannot be written; what was there is still there.</exception>
    public void Save(string folder, PeftMetadata? about = null)
    {
        RefuseIfUnloaded();
        PeftFolder.Write(folder, Options, new AdapterTensors(installation.Layers, AdapterName).ToFile(), about ?? metadata, AdapterName);
    }

    /// <summary>Switches the adapters off until the returned scope is disposed: the model gives the base model's output.</summary>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    /// <exception cref="ObjectDisposedException">The adapters were taken out of the model.</exception>
    public IDisposable Disable()
    {
        foreach ((_, AdapterStack stack) in Layers)
        {
            stack.RefuseIfMerged("switch adapters off");
        }

        return new DisabledScope([.. installation.Layers.Select(layer => layer.Stack)]);
    }

    /// <summary>Folds the active adapters into the base weights. <see cref="Unmerge"/> brings their bits back.</summary>
    /// <param name="safe">Refuse results that are not finite.</param>
    /// <exception cref="InvalidOperationException">
    /// The adapters are merged already, a result is not finite, or a weight is shared with a layer that is not adapted. Nothing was changed.
    /// </exception>
    public void Merge(bool safe = true)
    {
        RefuseIfUnloaded();
        TiedWeights.Refuse(Model, installation.Layers);
        MergePlan.Run(Layers, safe);
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
    }

    /// <summary>
    /// Folds the active adapters into the base weights for good and takes the library out of the model: its modules
    /// are the original ones, with merged weights, and run as fast as they did.
    /// </summary>
    /// <param name="safe">Refuse results that are not finite.</param>
    /// <exception cref="InvalidOperationException">As for <see cref="Merge"/>; nothing was changed.</exception>
    public void MergeAndUnload(bool safe = true)
    {
        RefuseIfUnloaded();
        TiedWeights.Refuse(Model, installation.Layers);
        MergePlan.Run([.. Layers.Where(layer => !layer.Value.IsMerged)], safe);
        foreach ((_, AdapterStack stack) in Layers)
        {
            stack.ForgetOriginal();
        }

        Unload();
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

    private static LoraOptions OptionsOf(PeftFolder file) => file.Options as LoraOptions
        ?? throw new InvalidDataException($"The adapter in '{file.Path}' is none of LoRA or DoRA, which alone can be put into a model.");

    private static string Describe(LoraOptions options) =>
        $"{(options.UseDora ? "DoRA" : "LoRA")} rank {options.Rank}, alpha {options.Alpha}{(options.UseRsLora ? ", rank-stabilised" : "")}";

    private static bool IsSameUpdate(LoraOptions a, LoraOptions b) =>
        (a.UseDora, a.Rank, a.Alpha, a.UseRsLora) == (b.UseDora, b.Rank, b.Alpha, b.UseRsLora)
        && a.RankPattern.SequenceEqual(b.RankPattern)
        && a.AlphaPattern.SequenceEqual(b.AlphaPattern);

    private void CopyFrom(PeftFolder file)
    {
        new AdapterTensors(installation.Layers, AdapterName).CopyFrom(file);
        metadata = file.Metadata;
        Report = Report with { Warnings = file.Warnings };
    }

    private void RefuseIfUnloaded() => ObjectDisposedException.ThrowIf(unloaded, this);

    private InjectionReport MakeReport(InjectionPlan plan)
    {
        AdaptedSite[] sites =
        [
            .. installation.Layers.Select(layer => new AdaptedSite(
                layer.Path,
                layer.Site.Node.Aliases,
                layer.Choice.Route,
                layer.Stack.Weight.Inputs,
                layer.Stack.Weight.Outputs,
                layer.Site.Options,
                layer.Stack.parameters().Where(p => p.requires_grad).Sum(p => p.numel()))),
        ];
        return new(sites, plan.LeftAlone, plan.Unmatched, Model.parameters().Sum(p => p.numel()));
    }

    private sealed class DisabledScope : IDisposable
    {
        private readonly (AdapterStack Stack, bool Enabled)[] before;

        public DisabledScope(AdapterStack[] stacks)
        {
            before = Array.ConvertAll(stacks, stack => (stack, stack.Enabled));
            Array.ForEach(stacks, stack => stack.Enabled = false);
        }

        public void Dispose() => Array.ForEach(before, state => state.Stack.Enabled = state.Enabled);
    }
}
