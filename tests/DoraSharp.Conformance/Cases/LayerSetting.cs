namespace DoraSharp.Conformance;

/// <summary>What an adapter's configuration came to at a layer.</summary>
/// <param name="R">The rank.</param>
/// <param name="Scaling">The scaling.</param>
internal sealed record LayerSetting(int R, double Scaling);
