using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>A layer that can be adapted, and what it does by its definition: naive, in float64, with autograd.</summary>
internal abstract class LayerCase(string name)
{
    /// <summary>The case's name in test results.</summary>
    public string Name => name;

    /// <summary>The layout of the update of a convolution with groups.</summary>
    public virtual GroupedUpdate GroupedUpdate => GroupedUpdate.Peft;

    /// <summary>Whether an update can be folded into the weight.</summary>
    public virtual bool CanMerge => true;

    /// <summary>Whether the inputs are token ids.</summary>
    public virtual bool TakesIds => false;

    /// <summary>A fresh layer in float32.</summary>
    public abstract nn.Module<Tensor, Tensor> Make();

    /// <summary>An input in float32, or ids.</summary>
    public abstract Tensor Input();

    /// <summary>The matrix [out, in] that a layer holds, in float64.</summary>
    public virtual Tensor MatrixOf(nn.Module layer) => Matrix(layer.get_parameter("weight")!.detach().to(ScalarType.Float64));

    /// <summary>The matrix [out, in] of a weight as it is stored.</summary>
    public abstract Tensor Matrix(Tensor stored);

    /// <summary>What the layer with another matrix makes of an input, without bias.</summary>
    public abstract Tensor Product(Tensor x, Tensor matrix);

    /// <summary>A value per output in the shape in which it meets the layer's outputs.</summary>
    public virtual Tensor PerOutput(Tensor v) => v;

    /// <summary>The matrix [out, r] of a trained B.</summary>
    public virtual Tensor MatrixOfB(Tensor b) => b;

    /// <summary>What dropout makes of a product of the layer, for a mask (1 = kept) of the adapter's input.</summary>
    public virtual Tensor DroppedProduct(Tensor x, Tensor matrix, Func<Tensor, Tensor> mask, double p) => Product(x * mask(x) / (1 - p), matrix);

    public override string ToString() => name;
}
