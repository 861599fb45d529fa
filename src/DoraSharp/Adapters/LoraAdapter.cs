using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>LoRA (arXiv 2106.09685): V ← V + s·B·A, with s = α/r, or α/√r rank-stabilised.</summary>
public class LoraAdapter : Adapter
{
    private const string NameOfA = "lora_A";
    private const string NameOfB = "lora_B";

    [ComponentName(Name = NameOfA)]
    private readonly Parameter a;
    [ComponentName(Name = NameOfB)]
    private readonly Parameter b;

    internal LoraAdapter(LoraOptions options, FrozenWeight weight)
        : this(nameof(LoraAdapter), options, weight)
    {
    }

    private protected LoraAdapter(string name, LoraOptions options, FrozenWeight weight)
        : base(name)
    {
        Options = options;
        (a, b) = LoraInitializer.Create(options, weight, ParameterType(weight.DType));

        // RegisterComponents would list a derived type's parameters before these.
        register_parameter(NameOfA, a);
        register_parameter(NameOfB, b);
    }

    /// <inheritdoc/>
    public override LoraOptions Options { get; }

    /// <inheritdoc/>
    public override ScalarType DType => a.dtype;

    /// <summary>The down projection A, [rank, in].</summary>
    public Parameter A => a;

    /// <summary>The up projection B, [out, rank].</summary>
    public Parameter B => b;

    internal override IReadOnlyList<KeyValuePair<string, Parameter>> FileTensors =>
        [new($"{NameOfA}.weight", a), new($"{NameOfB}.weight", b)];

    internal override Tensor FoldOutput(Tensor y, Tensor x, FoldContext fold) => Update(y, Dropped(x, fold));

    internal override Tensor FoldRows(Tensor v, long firstRow, FrozenWeight weight)
    {
        Tensor rows = b.narrow(0, firstRow, v.shape[0]).to(v.dtype);
        return addmm(v, rows.mul(Options.Scaling), a.to(v.dtype), 1, 1);
    }

    /// <summary>y + s·B·A x.</summary>
    private protected Tensor Update(Tensor y, Tensor x) => addmm(y, x.matmul(a.t()).mul(Options.Scaling), b.t(), 1, 1);

    /// <summary>drop(x) in training, x itself otherwise.</summary>
    private protected Tensor Dropped(Tensor x, FoldContext fold) =>
        Drops(fold) ? nn.functional.dropout(x, Options.Dropout, training: true) : x;

    /// <summary>Whether this adapter's dropout acts now.</summary>
    private protected bool Drops(FoldContext fold) => fold.Drops && Options.Dropout > 0;

    /// <summary>Throws unless a layer can be adapted.</summary>
    /// <exception cref="NotSupportedException">Its dtype cannot be adapted.</exception>
    /// <exception cref="ArgumentException">It has no input or no output features.</exception>
    internal static void CheckBase(Linear layer)
    {
        _ = ParameterType(layer.weight.dtype);
        if (layer.weight.numel() == 0)
        {
            throw new ArgumentException($"The layer maps {layer.in_features} to {layer.out_features} features; there is nothing to adapt.", nameof(layer));
        }
    }

    /// <summary>Half-precision weights are adapted in float32: an update is below half their unit in the last place.</summary>
    private static ScalarType ParameterType(ScalarType weight) => weight switch
    {
        ScalarType.Float64 => ScalarType.Float64,
        ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 => ScalarType.Float32,
        _ => throw new NotSupportedException($"A frozen weight of dtype {weight} cannot be adapted; float64, float32, bfloat16 and float16 can."),
    };
}
