namespace DoraSharp.Conformance;

/// <summary>Parameters that an optimizer treats alike.</summary>
/// <param name="Params">Their names in the adapter's file, without prefix.</param>
/// <param name="Lr">Their learning rate.</param>
/// <param name="WeightDecay">Their weight decay.</param>
internal sealed record ParameterGroup(IReadOnlyList<string> Params, double Lr, double WeightDecay);
