namespace DoraSharp.Benchmarks;

/// <summary>
/// The least multiplications over the floor's: the floor takes 4·T·o·i in forward and backward, the adapter 6·T·r·(i + o),
/// DoRA's norm 2·o·i·r once per change of the parameters.
/// </summary>
internal static class ArithmeticLimit
{
    /// <summary>1: a frozen layer.</summary>
    public static double Frozen(Scenario scenario) => 1;

    /// <summary>L_lora = 1 + 1.5·r·(1/i + 1/o) in training, 1 + r·(1/i + 1/o) in evaluation.</summary>
    public static double Lora(Scenario scenario)
    {
        LayerShape shape = scenario.Shape;
        double skinny = shape.Rank * ((1.0 / shape.In) + (1.0 / shape.Out));
        return 1 + (scenario.HasBackward ? 1.5 * skinny : skinny);
    }

    /// <summary>L_dora = L_lora + r/(2·T), the norm shared by the micro steps of an optimizer step; L_lora in evaluation.</summary>
    public static double Dora(Scenario scenario) =>
        Lora(scenario) + (scenario.HasBackward ? scenario.Shape.Rank / (2.0 * scenario.Shape.Tokens * scenario.MicroSteps) : 0);
}
