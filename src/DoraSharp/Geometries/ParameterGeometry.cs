using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A bare parameter, whose use in its module's forward is not known: only its effective value can be given. E experts share
/// one pair of factors: A [E·r, in] with an expert's rows together, B [out, E·r] with a column of every expert in turn.
/// </summary>
internal sealed class ParameterGeometry(long experts, long outputs) : Geometry
{
    public override LayerKind Kind => LayerKind.Parameter;

    public override long Experts => experts;

    public override long[] ShapeOfA(long inputs, int rank) => [experts * rank, inputs];

    public override long[] ShapeOfB(long rows, int rank) => [outputs, experts * rank];

    public override Tensor AddUpdate(Tensor v, long firstRow, Tensor a, Tensor b, double scaling)
    {
        long first = firstRow / outputs;
        long count = ((firstRow + v.shape[0] - 1) / outputs) - first + 1;
        Tensor down = a.to(v.dtype).reshape(experts, -1, a.shape[1]).narrow(0, first, count);
        Tensor up = b.to(v.dtype).reshape(outputs, -1, experts).permute(2, 0, 1).narrow(0, first, count);
        Tensor update = up.matmul(down).flatten(0, 1).narrow(0, firstRow - (first * outputs), v.shape[0]);
        return v + (update * scaling);
    }

    public override (Tensor X, Tensor Z) Canonical(Tensor x, Tensor z, FrozenWeight weight) => throw NoOutputs();

    public override Tensor Product(Tensor x, FrozenWeight weight) => throw NoOutputs();

    public override Tensor Down(Tensor x, Tensor a, double dropout) => throw NoOutputs();

    public override Tensor AddUp(Tensor y, Tensor h, Tensor b) => throw NoOutputs();

    public override Tensor PerOutput(Tensor v) => throw NoOutputs();

    private static NotSupportedException NoOutputs() => new("A bare parameter has no input and no output.");
}
