using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A weight that stays what it is: a merge of nothing.</summary>
internal sealed class KeptWeight(FrozenWeight weight) : WeightReplacement(weight, newBias: null)
{
    private readonly FrozenWeight weight = weight;

    public override Tensor Original => weight.Stored;

    public override Tensor OriginalMatrix() => weight.Dense();

    protected override void Put()
    {
    }

    protected override void PutBack()
    {
    }
}
