using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// VeRA (arXiv 2310.11454): V ← V + diag(b)·B·diag(d)·A with random projections A and B that are frozen and shared by all
/// layers; only the vectors b [out] and d [r] train. Decomposed: DVoRA (arXiv 2402.09353, section 5.5).
/// </summary>
public sealed class VeraAdapter : LowRankAdapter
{
    private const string NameOfB = "vera_lambda_b";
    private const string NameOfD = "vera_lambda_d";

    // A module in a field would count as a part of this one; the model owns these.
    private readonly Func<VeraProjections> shared;
    private readonly long inputs;
    private readonly long outputs;

    internal VeraAdapter(VeraOptions options, FrozenWeight weight, Geometry geometry, VeraProjections projections)
        : base(options.UseDora ? "DvoraAdapter" : nameof(VeraAdapter), options, geometry)
    {
        shared = () => projections;
        inputs = weight.Inputs;
        outputs = weight.Outputs;
        ScalarType dtype = ParameterType(weight.DType);
        register_parameter(NameOfB, (Parameter)new Parameter(zeros(outputs, dtype: dtype, device: weight.Device)).DetachFromDisposeScope());
        register_parameter(NameOfD, (Parameter)new Parameter(full(options.Rank, options.DInitial, dtype: dtype, device: weight.Device)).DetachFromDisposeScope());
        if (options.UseDora)
        {
            AddMagnitude(weight);
        }
    }

    /// <summary>b, [out].</summary>
    public Parameter LambdaB => get_parameter(NameOfB)!;

    /// <summary>d, [r].</summary>
    public Parameter LambdaD => get_parameter(NameOfD)!;

    internal override double InitialScaling => 1;

    internal override Tensor[] Sources => [LambdaB, LambdaD, shared().A, shared().B];

    internal override IReadOnlyList<FileTensor> FileTensors =>
        [new(NameOfB, LambdaB, LambdaB.shape), new(NameOfD, LambdaD, LambdaD.shape), .. base.FileTensors];

    internal override (Tensor A, Tensor B) Factors()
    {
        Tensor a = shared().A.narrow(1, 0, inputs).to(LambdaD.dtype);
        Tensor b = shared().B.narrow(0, 0, outputs).to(LambdaB.dtype);
        return (LambdaD.unsqueeze(1) * a, LambdaB.unsqueeze(1) * b);
    }
}
