using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The adapter of an embedding, used on the output head that shares its weight: the head's update is the embedding's,
/// transposed. It has no parameters of its own. PEFT: <c>ensure_weight_tying</c>.
/// </summary>
internal sealed class TiedLoraAdapter : LowRankAdapter
{
    // A module in a field would count as a part of this one.
    private readonly Func<LoraAdapter> source;

    public TiedLoraAdapter(LoraAdapter source, Geometry geometry)
        : base(nameof(TiedLoraAdapter), source.Options, geometry) => this.source = () => source;

    internal override Adapter TiedTo => source();

    internal override double InitialScaling => source().InitialScaling;

    internal override Tensor[] Sources => source().Sources;

    // PEFT writes the head's factors too: the transposed ones.
    internal override IReadOnlyList<FileTensor> FileTensors
    {
        get
        {
            (Tensor a, Tensor b) = Factors();
            (string nameOfA, long[] shapeOfA) = Geometry.InFile(FactorPart.A, a.shape);
            (string nameOfB, long[] shapeOfB) = Geometry.InFile(FactorPart.B, b.shape);
            return [new(nameOfA, a, shapeOfA), new(nameOfB, b, shapeOfB)];
        }
    }

    internal override (Tensor A, Tensor B) Factors() => (source().B.t(), source().A.t());
}
