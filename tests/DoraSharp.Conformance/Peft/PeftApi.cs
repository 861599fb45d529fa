using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>
/// The one place where the suite touches what of the library is not public, or not there yet: everything else in the
/// checks is what any user can write.
/// </summary>
internal static class PeftApi
{
    /// <summary>Reads the options of an <c>adapter_config.json</c>.</summary>
    public static AdapterOptions ReadOptions(string path) => PeftConfigReader.Read(path).Options;

    /// <summary>Puts a fresh adapter into a model.</summary>
    public static AdaptedModel Inject(CaseModel model, AdapterOptions options, string name) =>
        options is VeraOptions vera
            ? AdapterInjector.InjectVera(model, vera, new() { AdapterName = name })
            : AdapterInjector.Inject(model, (LoraOptions)options, new() { AdapterName = name, Attention = model.AttentionAt });

    /// <summary>Loads one more adapter beside the first.</summary>
    public static void LoadFurther(AdaptedModel adapted, string folder, string name) =>
        adapted.LoadAdapter(name, name == AdapterDescription.DefaultName ? folder : Path.Combine(folder, name));

    /// <summary>Makes adapters active, in this order.</summary>
    public static void Activate(AdaptedModel adapted, params IReadOnlyList<string> names) => adapted.Activate(names);

    public static IReadOnlyList<string> ActiveNames(AdaptedModel adapted) => adapted.ActiveAdapters;

    /// <summary>All adapters of the model.</summary>
    public static IReadOnlyList<string> Names(AdaptedModel adapted) => adapted.AdapterNames;

    public static void Delete(AdaptedModel adapted, string name) => adapted.Delete(name);

    /// <summary>Saves an adapter; an adapter that is not named default goes to a subfolder of its name.</summary>
    public static void Save(AdaptedModel adapted, string folder, string name) => adapted.Save(folder, adapterName: name);

    /// <summary>The trained parameters of an adapter, by their names in its file without PEFT's prefix.</summary>
    public static IReadOnlyDictionary<string, Tensor> Parameters(AdaptedModel adapted, string name)
    {
        Dictionary<string, Tensor> parameters = adapted.TensorsOf(name).ToDictionary(static tensor => tensor.Name, static tensor => tensor.Value);
        foreach (InstalledLayer layer in adapted.InstalledLayers)
        {
            foreach (FileTensor tensor in layer.Stack.Find(name)?.FileTensors ?? [])
            {
                parameters[$"{layer.DiskPath}.{tensor.Part}"] = tensor.Value;
            }
        }

        return parameters;
    }

    /// <summary>The gradient of one of them, in the shape that it has in the file.</summary>
    public static Tensor? Gradient(AdaptedModel adapted, string name, string key, long[] shape) =>
        Parameters(adapted, name).TryGetValue(key, out Tensor? parameter) ? parameter.grad?.reshape(shape) : null;

    /// <summary>Overwrites a trained parameter.</summary>
    public static void Set(AdaptedModel adapted, string name, string key, Tensor value)
    {
        using var noGrad = no_grad();
        Tensor parameter = Parameters(adapted, name)[key];
        parameter.copy_(value.reshape(parameter.shape));
    }

    /// <summary>The rank and the scaling of an adapter at a layer.</summary>
    public static (int Rank, double Scaling)? Setting(AdaptedModel adapted, string path, string name) =>
        Layer(adapted, path)?.Find(name) is LowRankAdapter adapter ? (adapter.Options.Rank, adapter.Scaling) : null;

    /// <summary>The magnitude of an adapter that has none in PEFT's format.</summary>
    public static Parameter GiveMagnitude(AdaptedModel adapted, string path, string name)
    {
        if (!adapted.OptionsOf(name).UseDora)
        {
            adapted.ConvertToDora(name);
        }

        return ((LowRankAdapter)Layer(adapted, path)![name]).Magnitude!;
    }

    /// <summary>The frozen weight under a layer, [out, in].</summary>
    public static Tensor FrozenWeight(AdaptedModel adapted, string path) => Layer(adapted, path)!.Weight.Dense();

    /// <summary>The effective weight of the active adapters, [out, in].</summary>
    public static Tensor EffectiveWeight(AdaptedModel adapted, string path) => Layer(adapted, path)!.EffectiveWeight();

    /// <summary>Multiplies an adapter's initial scaling.</summary>
    public static void SetScale(AdaptedModel adapted, string name, double factor) => adapted.SetScale(name, factor);

    public static void ScaleLayers(AdaptedModel adapted, double factor) => adapted.ScaleLayers(factor);

    /// <summary>Takes a scale back; all of it where no factor is given.</summary>
    public static void UnscaleLayers(AdaptedModel adapted, double? factor) => adapted.UnscaleLayers(factor);

    /// <summary>One adapter per sample until the scope is disposed.</summary>
    public static IDisposable ForSamples(AdaptedModel adapted, IReadOnlyList<string> names) => adapted.ForSamples(names);

    /// <summary>Combines adapters into a new one.</summary>
    /// <param name="adapted">The model.</param>
    /// <param name="name">The new adapter's name.</param>
    /// <param name="call">PEFT's arguments by their names.</param>
    /// <param name="masks">The random masks (1 = kept) in the order in which they are drawn.</param>
    public static void Combine(AdaptedModel adapted, string name, JsonElement call, IReadOnlyList<Tensor> masks)
    {
        AdapterCombination combination = Combination(call);
        if (masks.Count == 0)
        {
            adapted.Combine(name, combination);
            return;
        }

        int drawn = 0;
        adapted.Combine(name, combination, shape => masks[drawn++].reshape(shape));
        if (drawn != masks.Count)
        {
            throw new InvalidOperationException($"The combination drew {drawn} masks; there are {masks.Count}.");
        }
    }

    /// <summary>Makes a LoRA adapter a DoRA adapter without a jump in the output.</summary>
    public static void ConvertToDora(AdaptedModel adapted, string name) => adapted.ConvertToDora(name);

    /// <summary>Takes the dropout masks (1 = kept) from a function of the input until the scope is disposed.</summary>
    public static IDisposable WithMask(Func<Tensor, Tensor> mask) => InputDropout.WithMask(mask);

    /// <summary>Loads an adapter whose file does not fit, and returns what was missing and what was too much.</summary>
    public static (AdaptedModel Adapted, IReadOnlyList<string> Missing, IReadOnlyList<string> Unexpected) LoadIncomplete(nn.Module model, string folder, string name) =>
        AdaptedModel.Load(model, folder, new() { AdapterName = name, AllowMismatchedTensors = true }) is { Report.File: { } file } adapted
            ? (adapted, file.Missing, file.Unexpected)
            : throw Missing("a report of the loaded tensors");

    /// <summary>Puts an adapter into a model whose initial values come from forward passes (and backward passes, where the method needs them).</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">The options, with an initialisation that needs data.</param>
    /// <param name="name">The adapter's name.</param>
    /// <param name="batches">One action per batch: runs the model, and returns the loss where there is one.</param>
    public static AdaptedModel InjectFromData(nn.Module model, AdapterOptions options, string name, IReadOnlyList<Func<Tensor>> batches)
    {
        LoraOptions lora = (LoraOptions)options;
        IReadOnlyList<string> targets = AdapterInjector.Targets(model, lora);
        using InitializationData data = lora.Initialization.Name switch
        {
            "lora_ga" => DataCollector.ForLoraGa(model, targets, batches, static batch => batch()),
            "corda" => DataCollector.ForCorda(model, targets, batches, static batch => batch()),
            "eva" => DataCollector.ForEva(model, targets, batches, static batch => batch()),
            { } method => throw Missing($"the initialisation {method} from data"),
        };
        lora = data.Method == LoraInitialization.Eva ? EvaRanks.Redistribute(model, lora, data) : lora;
        return AdapterInjector.Inject(model, lora, new() { AdapterName = name, InitializationData = data });
    }

    /// <summary>Saves an adapter that changed its base as one for the original base.</summary>
    /// <param name="adapted">The model with the changed base and the trained adapter.</param>
    /// <param name="folder">Where to save.</param>
    /// <param name="initial">The folder of the adapter as it was before training.</param>
    public static void SaveForOriginalBase(AdaptedModel adapted, string folder, string initial) => adapted.SavePlain(folder, initialFolder: initial);

    /// <summary>The best LoRA factors for a change of a weight: B·A with scaling 1.</summary>
    /// <param name="delta">The change, [out, in].</param>
    /// <param name="rank">The rank, or</param>
    /// <param name="energy">the part of the squared singular values to keep.</param>
    public static (Tensor A, Tensor B) Extract(Tensor delta, int? rank, double? energy)
    {
        LowRankApproximation approximation = energy is { } fraction ? LowRankApproximation.OfEnergy(delta, fraction) : LowRankApproximation.OfRank(delta, rank!.Value);
        return (approximation.A, approximation.B);
    }

    /// <summary>The LoRA-FA optimizer over an adapter.</summary>
    public static optim.Optimizer LoraFa(AdaptedModel adapted, JsonElement call) => new LoraFaAdamW(adapted, new()
    {
        LearningRate = call.GetProperty("lr").GetDouble(),
        WeightDecay = call.GetProperty("weight_decay").GetDouble(),
        Beta1 = call.GetProperty("betas")[0].GetDouble(),
        Beta2 = call.GetProperty("betas")[1].GetDouble(),
        Epsilon = call.GetProperty("eps").GetDouble(),
    });

    /// <summary>The parameter groups of LoRA+.</summary>
    public static IReadOnlyList<(IReadOnlyList<Parameter> Parameters, double LearningRate, double WeightDecay)> LoraPlusGroups(AdaptedModel adapted, JsonElement call)
    {
        LoraPlusOptions options = new()
        {
            LearningRate = call.GetProperty("lr").GetDouble(),
            Ratio = call.GetProperty("loraplus_lr_ratio").GetDouble(),
            WeightDecay = call.GetProperty("loraplus_weight_decay").GetDouble(),
            EmbeddingLearningRate = call.GetProperty("loraplus_lr_embedding").GetDouble(),
        };
        return
        [
            .. LoraPlus.Groups(adapted, options).Select(static group =>
                ((IReadOnlyList<Parameter>)[.. group.Parameters], group.Options.LearningRate!.Value, group.Options.weight_decay!.Value)),
        ];
    }

    /// <summary>PEFT's arguments of <c>add_weighted_adapter</c>. It accepts what a type does not use; the library refuses that.</summary>
    private static AdapterCombination Combination(JsonElement call)
    {
        CombinationType type = Enum.Parse<CombinationType>(call.GetProperty("combination_type").GetString()!.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);
        bool cuts = call.GetProperty("combination_type").GetString()!.EndsWith("svd", StringComparison.Ordinal);
        bool prunes = type is not (CombinationType.Svd or CombinationType.Linear or CombinationType.Cat);
        return new()
        {
            Adapters = [.. call.GetProperty("adapters").EnumerateArray().Select(static name => name.GetString()!)],
            Weights = [.. call.GetProperty("weights").EnumerateArray().Select(static weight => weight.GetDouble())],
            Type = type,
            Density = prunes && call.TryGetProperty("density", out JsonElement density) ? density.GetDouble() : null,
            SvdRank = cuts && call.TryGetProperty("svd_rank", out JsonElement rank) ? rank.GetInt32() : null,
            MajoritySign = call.TryGetProperty("majority_sign_method", out JsonElement sign) ? Enum.Parse<MajoritySign>(sign.GetString()!, ignoreCase: true) : default,
        };
    }

    private static AdapterStack? Layer(AdaptedModel adapted, string path) => adapted.InstalledLayers.FirstOrDefault(layer => layer.DiskPath == path)?.Stack;

    private static NotSupportedException Missing(string what) => new($"The library does not have {what} yet.");
}
