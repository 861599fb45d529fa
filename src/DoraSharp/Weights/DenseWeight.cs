using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The weight of a TorchSharp <see cref="Linear"/>, read from it at every use so that <c>model.to(...)</c> is followed.</summary>
internal sealed class DenseWeight(Linear layer) : FrozenWeight
{
    /// <summary>The registered parameter: the field that the layer's forward reads may hold a substitute for a while.</summary>
    private Parameter Weight => layer.get_parameter(nameof(Linear.weight))!;

    public override long Outputs => Weight.shape[0];

    public override long Inputs => Weight.shape[1];

    public override ScalarType DType => Weight.dtype;

    public override Device Device => Weight.device;

    public override Tensor? Bias => layer.bias;

    public override Tensor Source => Weight;

    public override Tensor Product(Tensor x) => nn.functional.linear(x, Weight);

    public override Tensor Rows(long first, long count, ScalarType dtype)
    {
        using Tensor rows = Weight.narrow(0, first, count);
        return rows.to(dtype);
    }

    public override Tensor Rows(Tensor indices, ScalarType dtype)
    {
        using Tensor rows = Weight.index_select(0, indices);
        return rows.to(dtype);
    }

    public override Tensor Project(Tensor a)
    {
        using var noGrad = no_grad();
        return a.dtype == DType ? nn.functional.linear(Weight, a) : base.Project(a);
    }

    public override Tensor Dense() => Weight.alias();

    public override void Overwrite(Tensor dense)
    {
        using var noGrad = no_grad();
        Weight.copy_(dense);
        Invalidate();
    }
}
