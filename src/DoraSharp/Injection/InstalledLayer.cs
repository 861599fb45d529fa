namespace DoraSharp;

/// <summary>A weight with its adapters in place. An attention has several weights.</summary>
/// <param name="Site">The plan that it follows.</param>
/// <param name="Choice">Its route.</param>
/// <param name="Path">The weight's path in the model: its layer's, followed by its own name where the layer has several.</param>
/// <param name="DiskPath">The path in the names of a file's tensors.</param>
/// <param name="Stack">Its adapters.</param>
internal sealed record InstalledLayer(PlannedSite Site, RouteChoice Choice, string Path, string DiskPath, AdapterStack Stack);
