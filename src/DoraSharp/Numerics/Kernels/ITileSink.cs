namespace DoraSharp;

/// <summary>A sink for the pieces of a whole matrix.</summary>
/// <typeparam name="TSelf">The sink's type.</typeparam>
internal interface ITileSink<TSelf> : IPanelSink
    where TSelf : struct, ITileSink<TSelf>
{
    /// <summary>The sink whose first sums belong to another place.</summary>
    /// <param name="row">Rows further down.</param>
    /// <param name="column">Columns further right, a multiple of 16.</param>
    TSelf At(nint row, nint column);
}
