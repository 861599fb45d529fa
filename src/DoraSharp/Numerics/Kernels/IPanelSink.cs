using System.Runtime.Intrinsics;

namespace DoraSharp;

/// <summary>What becomes of the sums of <see cref="PanelKernel"/>.</summary>
internal interface IPanelSink
{
    /// <summary>Takes the sixteen sums of a row.</summary>
    /// <param name="row">The row, 0 to 5.</param>
    /// <param name="left">The first eight.</param>
    /// <param name="right">The others.</param>
    void Take(int row, Vector256<float> left, Vector256<float> right);
}
