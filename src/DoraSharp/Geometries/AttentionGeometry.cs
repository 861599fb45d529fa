using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A projection of a multi-head attention: x [length, samples, in] to [length, samples, out].</summary>
internal class AttentionGeometry(long inputs, bool isOutput) : LinearGeometry(LayerKind.MultiheadAttention, inputs)
{
    private readonly long inputs = inputs;

    public override int SampleDimension => 1;

    public override int TimesAdded(LoraOptions options) => isOutput && options.DoublesAttentionOutput ? 2 : 1;

    /// <summary>The geometry where only some of the outputs are asked for, as those of a fused projection that are queries.</summary>
    public AttentionGeometry Rows(long first, long count) => new SomeRows(inputs, first, count);

    private sealed class SomeRows(long inputs, long first, long count) : AttentionGeometry(inputs, isOutput: false)
    {
        public override Tensor Product(Tensor x, FrozenWeight weight) => nn.functional.linear(x, weight.Dense().narrow(0, first, count));

        public override Tensor AddUp(Tensor y, Tensor h, Tensor b) => base.AddUp(y, h, b.narrow(0, first, count));

        public override Tensor PerOutput(Tensor v) => v.narrow(0, first, count);
    }
}
