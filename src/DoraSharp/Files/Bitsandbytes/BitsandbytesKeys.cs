namespace DoraSharp;

/// <summary>The names of the tensors that hold one quantized weight, which begin with the weight's own name.</summary>
/// <param name="Weight">The name of the weight, <c>model.layers.0.mlp.up_proj.weight</c>: the packed codes.</param>
internal sealed record BitsandbytesKeys(string Weight)
{
    private const string State = ".quant_state.bitsandbytes__";
    private const string RowScalesName = "SCB";

    private static readonly string[] FourBitParts = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];

    /// <summary>The path of the module that has the weight.</summary>
    public string Module => Weight.Contains('.', StringComparison.Ordinal) ? Weight[..Weight.LastIndexOf('.')] : "";

    public string Scales => Weight + ".absmax";

    public string Map => Weight + ".quant_map";

    public string NestedScales => Weight + ".nested_absmax";

    public string NestedMap => Weight + ".nested_quant_map";

    /// <summary>The scales of int8 rows.</summary>
    public string RowScales => Sibling(RowScalesName);

    /// <summary>How the codes of int8 rows are laid out.</summary>
    public string RowLayout => Sibling("weight_format");

    /// <summary>The JSON that describes a 4-bit weight.</summary>
    public string StateOf(string type) => $"{Weight}{State}{type}";

    /// <summary>The types that a file has a description of this weight for: one, if it is sound.</summary>
    public IEnumerable<string> TypesIn(IEnumerable<string> names) =>
        names.Where(name => name.StartsWith(Weight + State, StringComparison.Ordinal)).Select(name => name[(Weight.Length + State.Length)..]);

    /// <summary>All names but the weight's that belong to it.</summary>
    public IEnumerable<string> Companions(IEnumerable<string> names) => names.Where(name =>
        name == RowScales || name == RowLayout || name.StartsWith(Weight + State, StringComparison.Ordinal) || FourBitParts.Any(part => name == Weight + part));

    /// <summary>The weight that a tensor belongs to as part of its quantization; <see langword="null"/> where it is none.</summary>
    public static string? WeightOf(string name)
    {
        int state = name.IndexOf(State, StringComparison.Ordinal);
        return state >= 0 ? name[..state]
            : name == RowScalesName || name.EndsWith($".{RowScalesName}", StringComparison.Ordinal) ? name[..^RowScalesName.Length] + "weight"
            : FourBitParts.FirstOrDefault(part => name.EndsWith(part, StringComparison.Ordinal)) is { } part ? name[..^part.Length]
            : null;
    }

    private string Sibling(string name) => Module.Length == 0 ? name : $"{Module}.{name}";
}
