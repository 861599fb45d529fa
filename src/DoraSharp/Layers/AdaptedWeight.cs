namespace DoraSharp;

/// <summary>A weight of a layer, with its adapters.</summary>
/// <param name="Name">Its name behind the layer's path; empty where the layer has one weight only.</param>
/// <param name="DiskSuffix">What follows the layer's path in the names of PEFT's file.</param>
/// <param name="Stack">The adapters.</param>
internal readonly record struct AdaptedWeight(string Name, string DiskSuffix, AdapterStack Stack);
