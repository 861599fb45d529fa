using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Adapts the targeted layers of any TorchSharp model in place: linear and transposed linear layers, embeddings,
/// convolutions, attention, bare parameters. Everything but the adapters is frozen.
/// </summary>
/// <remarks>
/// First a plan is made with all its checks, then it is carried out; an error leaves the model as it was. A target
/// that matches nothing is an error, and so is, with <see cref="InjectionOptions.Probe"/>, an adapter that a forward
/// pass does not reach. PEFT equivalent: <c>get_peft_model</c>.
/// </remarks>
public static class AdapterInjector
{
    /// <summary>Adapts a model.</summary>
    /// <param name="model">The model; its layers are found by its module tree.</param>
    /// <param name="options">What to adapt, and with which adapter.</param>
    /// <param name="injection">How to go about it; <see langword="null"/> for the defaults.</param>
    /// <returns>The handle to the model's adapters. Disposing it takes them out again.</returns>
    /// <exception cref="ArgumentException">A target matches nothing, or something that cannot be adapted.</exception>
    /// <exception cref="InvalidOperationException">The model is adapted already, a layer has no route, or the probe did not reach one.</exception>
    /// <exception cref="NotSupportedException">A layer's dtype cannot be adapted.</exception>
    public static AdaptedModel Inject(nn.Module model, LoraOptions options, InjectionOptions? injection = null) => Put(model, options, injection);

    /// <summary>Adapts a model with VeRA, or DVoRA. Apart from the options as <see cref="Inject"/>.</summary>
    /// <inheritdoc cref="Inject"/>
    public static AdaptedModel InjectVera(nn.Module model, VeraOptions options, InjectionOptions? injection = null) => Put(model, options, injection);

    private static AdaptedModel Put(nn.Module model, AdapterOptions options, InjectionOptions? injection)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        injection ??= new();
        InjectionPlan.RefuseAdapted(model);
        InjectionPlan plan = InjectionPlan.Make(model, options, injection, injection.AdapterName);
        AdaptedModel adapted = new(model, injection);
        try
        {
            adapted.Add(injection.AdapterName, plan);
            adapted.CheckReach(injection.AdapterName);
            return adapted;
        }
        catch
        {
            adapted.Dispose();
            throw;
        }
    }

    /// <summary>The paths of the layers that an injection would adapt; nothing is changed. For <see cref="DataCollector"/>, which runs before it.</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">What to adapt.</param>
    /// <param name="injection">How to go about it; <see langword="null"/> for the defaults.</param>
    /// <returns>The paths in model order.</returns>
    /// <exception cref="ArgumentException">A target matches nothing, or something that cannot be adapted.</exception>
    public static IReadOnlyList<string> Targets(nn.Module model, LoraOptions options, InjectionOptions? injection = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        injection ??= new();
        return [.. InjectionPlan.Make(model, options, injection, injection.AdapterName).Sites.Where(site => site.Tokens is null).Select(site => site.Path)];
    }
}
