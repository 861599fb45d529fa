using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The weight of a TorchSharp <see cref="Linear"/>, read from it at every use so that <c>model.to(...)</c> is followed.</summary>
internal sealed class DenseWeight(Linear layer) : FrozenWeight
{
    public override long Outputs => layer.weight.shape[0];

    public override long Inputs => layer.weight.shape[1];

    public override ScalarType DType => layer.weight.dtype;

    public override Device Device => layer.weight.device;

    public override Tensor? Bias => layer.bias;

    public override Tensor Source => layer.weight;

    public override Tensor Product(Tensor x) => nn.functional.linear(x, layer.weight);

    public override Tensor Rows(long first, long count, ScalarType dtype)
    {
        using Tensor rows = layer.weight.narrow(0, first, count);
        return rows.to(dtype);
    }

    public override Tensor Rows(Tensor indices, ScalarType dtype)
    {
        using Tensor rows = layer.weight.index_select(0, indices);
        return rows.to(dtype);
    }

    public override Tensor Project(Tensor a)
    {
        using var noGrad = no_grad();
        return a.dtype == DType ? nn.functional.linear(layer.weight, a) : base.Project(a);
    }

    public override Tensor Dense() => layer.weight.alias();

    public override void Overwrite(Tensor dense)
    {
        using var noGrad = no_grad();
        layer.weight.copy_(dense);
        Invalidate();
    }
}
