using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

/// <summary>A model whose block takes and returns tensors deep inside of lists, dictionaries and records.</summary>
internal sealed class NestedModel : nn.Module<Tensor, Tensor>
{
    private readonly Block block = new();

    public NestedModel()
        : base(nameof(NestedModel)) => RegisterComponents();

    public override Tensor forward(Tensor input)
    {
        Result result = block.call(new() { ["first"] = [(input * 2, "twice")], ["none"] = [] }, [input.sin(), input.cos()]);
        return result.ByName["sum"] + result.Inner.Parts[1] + result.Inner.Pair!.Value.Item2;
    }

    internal sealed record Result(Dictionary<string, Tensor> ByName, Inner Inner, int Count);

    internal sealed record Inner(Tensor[] Parts, (int, Tensor)? Pair, Result? Circle = null);

    private sealed class Block : nn.Module<Dictionary<string, List<(Tensor, string)>>, IReadOnlyList<Tensor>, Result>
    {
        private readonly Linear linear = nn.Linear(16, 16);
        private readonly Dropout dropout = nn.Dropout(.3);

        public Block()
            : base(nameof(Block)) => RegisterComponents();

        public override Result forward(Dictionary<string, List<(Tensor, string)>> named, IReadOnlyList<Tensor> listed)
        {
            Tensor hidden = dropout.call(linear.call(named["first"][0].Item1));
            return new(new() { ["sum"] = hidden + listed[0] }, new([hidden * 2, hidden * listed[1]], (1, hidden.exp())), 3);
        }
    }
}
