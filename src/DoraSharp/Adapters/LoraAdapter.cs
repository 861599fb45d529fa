using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// LoRA (arXiv 2106.09685): V ← V + s·B·A, with s = α/r, or α/√r rank-stabilised; DoRA where the options ask for it.
/// </summary>
public sealed class LoraAdapter : LowRankAdapter
{
    private const string NameOfA = "lora_A";
    private const string NameOfB = "lora_B";
    private const string NameOfBias = "lora_B_bias";

    /// <summary>Makes an adapter from its initial factors, which it takes over.</summary>
    internal LoraAdapter(LoraOptions options, FrozenWeight weight, Geometry geometry, InitialFactors factors)
        : base(options.UseDora ? "DoraAdapter" : nameof(LoraAdapter), options, geometry)
    {
        ScalarType dtype = ParameterType(weight.DType);

        // A caller's dispose scope must not take the parameters of a module that outlives it.
        register_parameter(NameOfA, (Parameter)new Parameter(factors.A).DetachFromDisposeScope());
        register_parameter(NameOfB, (Parameter)new Parameter(factors.B).DetachFromDisposeScope());
        if (options.LoraBias)
        {
            register_parameter(NameOfBias, (Parameter)new Parameter(zeros(weight.Outputs, dtype: dtype, device: weight.Device)).DetachFromDisposeScope());
        }

        if (options.UseDora)
        {
            AddMagnitude(weight);
        }
    }

    // to(...) replaces the registered parameters, so these are asked for at every use.

    /// <summary>The down projection A, [rank, in].</summary>
    public Parameter A => get_parameter(NameOfA)!;

    /// <summary>The up projection B, [out, rank]; [out, rank/groups] for convolutions with groups in PEFT's layout.</summary>
    public Parameter B => get_parameter(NameOfB)!;

    /// <summary>B's own bias [out], which is scaled by s; <see langword="null"/> without <see cref="LoraOptions.LoraBias"/>.</summary>
    public Parameter? BiasOfB => get_parameter(NameOfBias);

    internal override double InitialScaling => ((LoraOptions)Options).Scaling * Geometry.TimesAdded((LoraOptions)Options);

    internal override Tensor[] Sources => [A, B];

    internal override Tensor? Bias => BiasOfB is { } bias ? bias * Scaling : null;

    internal override IReadOnlyList<FileTensor> FileTensors =>
        BiasOfB is { } bias
            ? [InFile(FactorPart.A, A), InFile(FactorPart.B, B), InFile(FactorPart.BiasOfB, bias), .. base.FileTensors]
            : [InFile(FactorPart.A, A), InFile(FactorPart.B, B), .. base.FileTensors];

    internal override (Tensor A, Tensor B) Factors() => (A, B);

    /// <summary>Takes over the values of a combination, rounded to the parameters' own dtype.</summary>
    internal void Overwrite(CombinedUpdate update)
    {
        using var noGrad = no_grad();
        A.copy_(update.A);
        B.copy_(update.B);
        Magnitude?.copy_(update.Magnitude!);
        if (update.Bias is { } bias)
        {
            BiasOfB!.copy_(bias);
        }
    }
}
