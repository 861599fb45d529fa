namespace DoraSharp;

/// <summary>A layer with its adapters in place.</summary>
/// <param name="Site">The plan that it follows.</param>
/// <param name="Choice">Its route.</param>
/// <param name="Stack">Its adapters.</param>
internal sealed record InstalledLayer(PlannedSite Site, RouteChoice Choice, AdapterStack Stack)
{
    /// <summary>The layer's path in the model.</summary>
    public string Path => Site.Node.Path;
}
