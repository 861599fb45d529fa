using static TorchSharp.torch;

namespace DoraSharp;

/// <content>Adapters become adapters of another kind or rank.</content>
public sealed partial class AdaptedModel
{
    private const double Unnoticeable = 1e-6;

    /// <summary>
    /// Gives a LoRA adapter a magnitude, ‖W + s·B·A‖ as it is now: the output stays what it is, bit for bit, also in the
    /// middle of training. A and B stay the same parameters; the magnitude is new to an optimizer. VeRA becomes DVoRA.
    /// </summary>
    /// <param name="adapterName">The adapter.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged, or it has magnitudes already. Nothing was changed.</exception>
    /// <exception cref="ArgumentException">It has what DoRA cannot have, such as <see cref="LoraOptions.LoraBias"/>. Nothing was changed.</exception>
    /// <exception cref="NotSupportedException">It trains a tied embedding and head as one. Nothing was changed.</exception>
    public void ConvertToDora(string adapterName)
    {
        InstalledAdapter adapter = Find(adapterName);
        RefuseIfMerged("convert an adapter");
        if (adapter.Options.UseDora)
        {
            throw new InvalidOperationException($"The adapter '{adapterName}' is {adapter.Options.Summary} already.");
        }

        AdapterOptions options = adapter.Options with { UseDora = true };
        InstalledLayer[] layers = LayersOf(adapterName);
        RefuseTied(layers, adapterName);

        // What a fresh DoRA adapter is refused for, this one is too.
        InjectionPlan plan = InjectionPlan.Make(Model, options, injection, adapterName);

        // The norms are kept: what is long or can fail is done before anything is changed.
        Array.ForEach(layers, layer => (layer.Stack[adapterName] as LowRankAdapter)?.Norm(layer.Stack.Weight).Dispose());
        foreach (InstalledLayer layer in layers)
        {
            Adapter converted = layer.Stack[adapterName];
            (converted as LowRankAdapter)?.AddMagnitude(layer.Stack.Weight, trains: layer.Stack.Active.Contains(adapterName));
            converted.Options = converted.Options with { UseDora = true };
        }

        Replace(adapterName, adapter with { Options = options, Report = MakeReport(adapterName, plan) with { File = adapter.Report.File } });
    }

    /// <summary>
    /// Makes an adapter a LoRA adapter that changes each weight as it did: DoRA's magnitudes included, whose rescaled rows
    /// need a higher rank. By default the rank is so high that the output does not jump. An adapter whose initialization
    /// changed the base gets the original base back. PEFT: <c>convert_to_lora</c>, which drops magnitudes.
    /// </summary>
    /// <remarks>
    /// The adapter's parameters are new ones, and its scaling is 1: ask for <see cref="TrainableParameters"/> again. The
    /// errors are those of the rank; rounding the factors to the parameters' dtype adds about 1e-7 of the change. It is the
    /// adapter by itself that stays what it is: where others are active before it, a DoRA adapter rescales their updates too,
    /// and a LoRA adapter does not.
    /// </remarks>
    /// <param name="adapterName">The adapter: LoRA, DoRA, VeRA or DVoRA.</param>
    /// <param name="choice">How each weight's rank is chosen; <see langword="null"/> for an error of at most 1e-6·‖W‖.</param>
    /// <returns>The rank and the error of each weight.</returns>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="ArgumentException">A change is not finite. Nothing was changed.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged, or others use a base that this one's initialization changed. Nothing was changed.</exception>
    /// <exception cref="NotSupportedException">At one of the weights an update is more than one product B·A; the message names it. Nothing was changed.</exception>
    public ConversionReport ConvertToLora(string adapterName, RankChoice? choice = null) =>
        Approximate(adapterName, choice ?? RankChoice.ForError(Unnoticeable), (layer, original) =>
        {
            LowRankAdapter adapter = (LowRankAdapter)layer.Stack[adapterName];
            Tensor present = layer.Stack.Weight.Dense();
            (Tensor a, Tensor b) = adapter.Factors();
            Tensor change = WeightChange.Of(present, a, b, adapter.Scaling, adapter.Magnitude);
            return layer.Stack.AdjustmentOf(adapterName) is null ? change : change.add_(present.to(ScalarType.Float64)).sub_(original);
        });

    /// <summary>
    /// Makes an adapter what turns the model's weights into those of another, fully trained model, as near as a rank allows:
    /// for saving a fine-tuned model as an adapter. Biases that train with the adapter and saved modules take the other model's values.
    /// </summary>
    /// <param name="adapterName">The adapter; it becomes a LoRA adapter with new parameters and the scaling 1.</param>
    /// <param name="tuned">A model with modules of the same paths and shapes, without adapters. It is only read.</param>
    /// <param name="choice">How each weight's rank is chosen.</param>
    /// <returns>The rank and the error of each weight, and what else differs between the two models.</returns>
    /// <exception cref="ArgumentException">The other model lacks a module, or its weight has another shape or is not finite. Nothing was changed.</exception>
    /// <inheritdoc cref="ConvertToLora"/>
    public ConversionReport FitTo(string adapterName, nn.Module tuned, RankChoice choice)
    {
        ArgumentNullException.ThrowIfNull(tuned);
        ArgumentNullException.ThrowIfNull(choice);
        _ = Find(adapterName);
        InjectionPlan.RefuseAdapted(tuned);
        using var scope = NewDisposeScope();
        TunedModel other = new(tuned);
        (string Name, Tensor Own, Tensor Tuned)[] saved =
        [
            .. from entry in swapped.Of(adapterName)
               let name = entry.Key.Replace(".base_layer.", ".", StringComparison.Ordinal)
               select (name, entry.Value, other.Parameter(name, entry.Value.shape)),
        ];
        ConversionReport report = Approximate(
            adapterName, choice, (layer, original) => layer.Stack.Weight.ToMatrix(other.Parameter(ParameterPath(layer), layer.Stack.Weight.Shape)).to(ScalarType.Float64).sub(original));
        using var noGrad = no_grad();
        foreach ((_, Tensor own, Tensor value) in saved)
        {
            own.copy_(value);
        }

        return report with { Uncovered = other.Differences(Model, [.. LayersOf(adapterName).Select(ParameterPath), .. saved.Select(entry => entry.Name)]) };
    }

    /// <summary>
    /// Saves an adapter whose initialization changed the base weight (PiSSA, OLoRA, CorDA, LoRA-GA) as a plain one of twice
    /// the rank for the original base. DoRA's magnitudes, biases and saved modules stay. PEFT:
    /// <c>save_pretrained(path_initial_model_for_weight_conversion=...)</c>, which drops them.
    /// </summary>
    /// <param name="folder">As for <see cref="Save"/>.</param>
    /// <param name="about">As for <see cref="Save"/>.</param>
    /// <param name="adapterName">The adapter; <see langword="null"/> for the first one.</param>
    /// <param name="initialFolder">
    /// The folder of the adapter as it was before it trained, where the base was changed elsewhere; <see langword="null"/> where it was changed here.
    /// </param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="InvalidOperationException">The adapter did not change the base here, and there is no folder of its initial values.</exception>
    /// <exception cref="NotSupportedException">The adapter is no LoRA adapter, or the base was quantized (LoftQ), which no adapter takes back.</exception>
    /// <exception cref="InvalidDataException">The folder of the initial values is damaged, or is that of another adapter.</exception>
    /// <exception cref="IOException">A file cannot be read or written; what was there is still there.</exception>
    public void SavePlain(string folder, PeftMetadata? about = null, string? adapterName = null, string? initialFolder = null)
    {
        RefuseIfUnloaded();
        adapterName ??= AdapterName;
        InstalledAdapter adapter = Find(adapterName);
        LoraOptions plainOptions = PlainAdapter.OptionsOf(adapter.Options);
        LoraOptions options = (LoraOptions)adapter.Options;
        InstalledLayer[] layers = [.. LayersOf(adapterName).Where(layer => layer.Stack[adapterName] is LowRankAdapter)];
        if (initialFolder is null && !layers.Any(layer => layer.Stack.AdjustmentOf(adapterName) is not null))
        {
            throw new InvalidOperationException(
                $"The initialization of '{adapterName}' changed no base weight here, so that it can be saved as it is by {nameof(Save)}. If the base was changed elsewhere, give the folder of the initial values.");
        }

        using var scope = NewDisposeScope();
        using PeftFolder? initial = initialFolder is null ? null : PeftFolder.Read(initialFolder, adapterName);
        if (initial is not null && !IsSameUpdate(options, initial.Options))
        {
            throw new InvalidDataException($"The adapter in '{initial.Path}' has other options than '{adapterName}': {initial.Options.Summary}, not {options.Summary}. Nothing was saved.");
        }

        Dictionary<string, PeftTensor> tensors = TensorsOf(adapterName).ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        foreach (InstalledLayer layer in layers)
        {
            LowRankAdapter trained = OneProduct(layer, adapterName);
            (Tensor a, Tensor b) = trained.Factors();
            (Tensor a0, Tensor b0) = initial is not null
                ? PlainAdapter.InitialFactors(initial, layer.DiskPath, trained)
                : layer.Stack.AdjustmentOf(adapterName) is { } adjustment ? (adjustment.A, adjustment.B) : (zeros_like(a), zeros_like(b));
            PlainAdapter plain = PlainAdapter.From(a, b, a0, b0, options.Alpha, options.UseRsLora);
            foreach ((FactorPart part, Tensor value) in new[] { (FactorPart.A, plain.A), (FactorPart.B, plain.B) })
            {
                (string name, long[] shape) = trained.Geometry.InFile(part, value.shape);
                PeftTensor tensor = new(layer.DiskPath, name, value.reshape(shape));
                tensors[tensor.Name] = tensor;
            }
        }

        Write(folder, adapterName, adapter, about, plainOptions, tensors.Values);
    }

    /// <summary>Puts LoRA adapters in the place of an adapter: the best ones for a change of each weight.</summary>
    /// <param name="adapterName">The adapter.</param>
    /// <param name="choice">How each weight's rank is chosen.</param>
    /// <param name="changeOf">The change of the original weight [out, in], which it is given in float64.</param>
    private ConversionReport Approximate(string adapterName, RankChoice choice, Func<InstalledLayer, Tensor, Tensor> changeOf)
    {
        InstalledAdapter adapter = Find(adapterName);
        RefuseIfMerged("convert an adapter");
        InstalledLayer[] layers = [.. LayersOf(adapterName).Where(layer => layer.Stack[adapterName] is LowRankAdapter)];
        RefuseTied(layers, adapterName);
        RefuseSharedAdjustments(layers, adapterName);
        Array.ForEach(layers, layer => OneProduct(layer, adapterName));
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        WeightApproximation[] weights = Array.ConvertAll(layers, layer => Of(layer, choice));

        // The weights of one module share its rank.
        Dictionary<string, int> ranks = layers.Zip(weights).GroupBy(pair => pair.First.Site.Node.Path).ToDictionary(group => group.Key, group => group.Max(pair => pair.Second.Rank));
        LoraOptions options = ConvertedOptions.Of(adapter.Options, ranks);
        InjectionPlan plan = InjectionPlan.Make(Model, options, injection, adapterName);
        Dictionary<string, LoraOptions> resolved = plan.Sites.Where(site => site.Tokens is null).GroupBy(site => site.Node.Path).ToDictionary(group => group.Key, group => (LoraOptions)group.First().Options);
        for (int i = 0; i < layers.Length; i++)
        {
            int rank = resolved[layers[i].Site.Node.Path].Rank;
            weights[i] = weights[i].Rank == rank ? weights[i] : Of(layers[i], RankChoice.Fixed(rank));
        }

        LoraAdapter[] converted = [.. layers.Zip(weights, (layer, weight) => weight.ToAdapter(resolved[layer.Site.Node.Path], layer.Stack))];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i].Stack.Exchange(adapterName, converted[i]);
        }

        RemoveProjections(adapter.Projections);
        PeftMetadata metadata = adapter.Options is LoraOptions ? adapter.Metadata : adapter.Metadata with { Source = null };
        Replace(adapterName, new(options, MakeReport(adapterName, plan) with { File = adapter.Report.File }, metadata));
        return new([.. layers.Zip(weights, (layer, weight) => weight.Report(layer.Path))]);

        WeightApproximation Of(InstalledLayer layer, RankChoice ofRank) => WeightApproximation.Of(layer.Stack, adapterName, ofRank, original => changeOf(layer, original));
    }

    private static string ParameterPath(InstalledLayer layer) => $"{layer.Site.Node.Path}.{layer.Stack.Weight.Name}";

    private InstalledLayer[] LayersOf(string adapterName) => [.. installation.Layers.Where(layer => layer.Stack.Find(adapterName) is not null)];

    private static void RefuseTied(InstalledLayer[] layers, string adapterName)
    {
        if (layers.FirstOrDefault(layer => layer.Stack[adapterName] is TiedLoraAdapter) is { } tied)
        {
            throw new NotSupportedException($"The adapter '{adapterName}' at {tied.Path} is that of the embedding whose weight it shares ({nameof(LoraOptions.EnsureWeightTying)}); the two cannot be converted apart. Nothing was changed.");
        }
    }

    private static void RefuseSharedAdjustments(InstalledLayer[] layers, string adapterName)
    {
        if (layers.FirstOrDefault(layer => layer.Stack.AdjustmentOf(adapterName) is not null && layer.Stack.Names.Count > 1) is { } shared)
        {
            throw new InvalidOperationException(
                $"The initialization of '{adapterName}' changed the base weight of {shared.Path}, which {string.Join(", ", shared.Stack.Names.Where(name => name != adapterName))} uses too; " +
                $"converting would restore it. Use {nameof(SavePlain)}. Nothing was changed.");
        }
    }

    /// <summary>The adapter at a weight, if its update is the one product of a matrix B [out, r] with a matrix A [r, in].</summary>
    private static LowRankAdapter OneProduct(InstalledLayer layer, string adapterName)
    {
        using var scope = NewDisposeScope();
        if (layer.Stack[adapterName] is LowRankAdapter adapter and not TiedLoraAdapter && layer.Stack.Kind != LayerKind.Parameter)
        {
            (Tensor a, Tensor b) = adapter.Factors();
            if (a.shape[0] == b.shape[1])
            {
                return adapter;
            }
        }

        string reason = layer.Stack[adapterName] switch
        {
            TokenAdapter => "it trains rows of the embedding",
            TiedLoraAdapter => "it is that of the embedding whose weight is shared",
            _ when layer.Stack.Kind == LayerKind.Parameter => "a bare parameter has one per expert",
            _ => $"one of the layout {nameof(GroupedUpdate)}.{nameof(GroupedUpdate.Peft)} has one per group of the convolution",
        };
        throw new NotSupportedException($"The adapter '{adapterName}' at {layer.Path} is not one product B·A: {reason}. Nothing was changed.");
    }
}
