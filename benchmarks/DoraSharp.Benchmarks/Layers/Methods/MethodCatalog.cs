namespace DoraSharp.Benchmarks;

/// <summary>The methods that are measured side by side. A new peer is one type and one line here.</summary>
internal static class MethodCatalog
{
    public const string Floor = "floor";
    public const string Lora = "lora";
    public const string Dora = "dora";
    public const string Merged = "merged";
    public const string PeftDora = "peft_dora";
    public const string DenseUpdate = "dense_ba";
    public const string Factored = "factored";

    public static IReadOnlyList<MethodDefinition> All { get; } =
    [
        new(Floor, problem => new FrozenBase(problem), ArithmeticLimit.Frozen),
        new(Lora, LibraryLayer.Lora, ArithmeticLimit.Lora),
        new(Dora, LibraryLayer.Dora, ArithmeticLimit.Dora),
        new(Merged, problem => new MergedLayer(problem), ArithmeticLimit.Frozen),
        new(PeftDora, problem => new PeerLayer(problem, (frozen, values) => new PeftAdapter(frozen, values)), ArithmeticLimit.Dora),
        new(DenseUpdate, problem => new PeerLayer(problem, (frozen, values) => new DenseUpdateAdapter(frozen, values)), ArithmeticLimit.Dora),
        new(Factored, problem => new PeerLayer(problem, (frozen, values) => new FactoredAdapter(frozen, values)), ArithmeticLimit.Dora),
    ];

    public static MethodDefinition Named(string name) => All.First(method => method.Name == name);
}
