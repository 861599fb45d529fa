using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>One setting in which all methods are measured side by side.</summary>
/// <param name="Shape">The layer and its input.</param>
/// <param name="DType">The frozen weight's and the activations' element type; adapters are float32.</param>
/// <param name="Mode">What one step is.</param>
/// <param name="Dropout">The probability of dropout.</param>
internal sealed record Scenario(LayerShape Shape, ScalarType DType, StepMode Mode, double Dropout)
{
    /// <summary>The number of forward passes between two changes of the parameters.</summary>
    public int MicroSteps => Mode == StepMode.Accumulate8 ? 8 : 1;

    public bool HasBackward => Mode != StepMode.Eval;

    public override string ToString() => string.Create(
        System.Globalization.CultureInfo.InvariantCulture,
        $"{Shape.In}→{Shape.Out}, T {Shape.Tokens}, r {Shape.Rank}, dropout {Dropout}, {Names.Of(DType)}, {Names.Of(Mode)}");
}
