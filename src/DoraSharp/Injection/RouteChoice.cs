using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A site's route.</summary>
/// <param name="Route">The route.</param>
/// <param name="Around">For weight substitution: the module around whose calls it happens.</param>
/// <param name="AroundPath">That module's path; empty for the model itself.</param>
/// <param name="AlsoAroundModel">For weight substitution: whether it also happens around the model's own calls.</param>
internal readonly record struct RouteChoice(InjectionRoute Route, nn.Module? Around = null, string AroundPath = "", bool AlsoAroundModel = false)
{
    /// <summary>
    /// Chooses a route for every site: replacement wherever all slots can hold a wrapper; for the others what the
    /// probe shows, or what the options say.
    /// </summary>
    /// <exception cref="InvalidOperationException">A sealed site has no route; the message names it, the reason and the way out.</exception>
    public static RouteChoice[] For(nn.Module model, IReadOnlyList<PlannedSite> sites, InjectionOptions injection)
    {
        PlannedSite[] sealedSites = [.. sites.Where(site => site.ParameterName is not null || site.SealedSlots.Any())];
        InvocationProbe? seen = sealedSites.Length > 0 && injection is { Probe: not null, SealedRoute: null }
            ? InvocationProbe.Run(sealedSites, injection.Probe)
            : null;
        return
        [
            .. sites.Select(site => site.ParameterName is not null
                ? ForParameter(site, seen)
                : site.SealedSlots.FirstOrDefault() is { } slot ? ForSealed(model, site, slot, injection, seen) : new(InjectionRoute.Replace)),
        ];
    }

    // The module itself is called in most models; where it is not, the model is.
    private static RouteChoice ForParameter(PlannedSite site, InvocationProbe? seen)
    {
        foreach ((string path, nn.Module module) in site.Node.CommonAncestors().Prepend((site.Node.Path, site.Node.Module)))
        {
            if (seen is not null && seen.Called.Contains(module) && (path != site.Node.Path || !seen.Forwarded.Contains(module)))
            {
                return new(InjectionRoute.SubstituteWeight, module, path);
            }
        }

        return new(InjectionRoute.SubstituteWeight, site.Node.Module, site.Node.Path, AlsoAroundModel: true);
    }

    private static RouteChoice ForSealed(nn.Module model, PlannedSite site, ModuleSlot slot, InjectionOptions injection, InvocationProbe? seen)
    {
        string open = site.Layer is MultiheadAttention ? "Module<Tensor, Tensor, Tensor, Tensor, bool, Tensor, Tuple<Tensor, Tensor>>" : "Module<Tensor, Tensor>";
        switch (injection.SealedRoute)
        {
            case InjectionRoute.Hook:
                return new(InjectionRoute.Hook);
            case InjectionRoute.SubstituteWeight when site.Layer is MultiheadAttention:
                throw NoSubstitution("InjectionOptions.SealedRoute asks for weight substitution");
            case InjectionRoute.SubstituteWeight:
                return new(InjectionRoute.SubstituteWeight, model);
        }

        if (seen is null)
        {
            throw new InvalidOperationException(
                $"{site.Node.Path} is held by {slot.Description}, which cannot hold a wrapper ({slot.DeclaredType.Name} is sealed): whether a hook reaches it depends on " +
                "how the model invokes it. Pass InjectionOptions.Probe (a forward on a sample input) so that this can be seen, or set " +
                $"InjectionOptions.SealedRoute, or declare the field as {open}. Nothing was changed.");
        }

        bool forwarded = seen.Forwarded.Contains(site.Layer);
        if (seen.Called.Contains(site.Layer) && !forwarded)
        {
            return new(InjectionRoute.Hook);
        }

        if (site.Layer is MultiheadAttention)
        {
            throw NoSubstitution($"in the probe it was {(forwarded ? "invoked by forward(...), which runs no hooks" : "not invoked")}");
        }

        foreach ((string path, nn.Module ancestor) in site.Node.CommonAncestors())
        {
            if (seen.Called.Contains(ancestor))
            {
                return new(InjectionRoute.SubstituteWeight, ancestor, path);
            }
        }

        throw new InvalidOperationException(
            $"{site.Node.Path} is held by {slot.Description}, which cannot hold a wrapper ({slot.DeclaredType.Name} is sealed), and in the probe " +
            (forwarded ? "it was invoked by forward(...) and no" : "neither it nor any") +
            " module above it was invoked by call(...); forward(...) runs no hooks. Invoke the model by model.call(input), or declare the field as " +
            $"{open}. Nothing was changed.");

        InvalidOperationException NoSubstitution(string why) => new(
            $"{site.Node.Path} is held by {slot.Description}, which cannot hold a wrapper ({slot.DeclaredType.Name} is sealed), and {why}; libtorch's attention " +
            $"runs on no other weights than its own. Invoke it by call(...), so that a hook reaches it, or declare the field as {open}. Nothing was changed.");
    }
}
