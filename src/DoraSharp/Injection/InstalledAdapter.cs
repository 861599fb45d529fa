namespace DoraSharp;

/// <summary>An adapter of a model as a whole.</summary>
/// <param name="Options">What it was made with.</param>
/// <param name="Report">What was adapted.</param>
/// <param name="Metadata">What its files said besides.</param>
/// <param name="Projections">The projections that its layers share, for VeRA.</param>
internal sealed record InstalledAdapter(AdapterOptions Options, InjectionReport Report, PeftMetadata Metadata, VeraProjections? Projections = null);
