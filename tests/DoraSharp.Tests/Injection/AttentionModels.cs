using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using OpenAttention = TorchSharp.torch.nn.Module<TorchSharp.torch.Tensor, TorchSharp.torch.Tensor, TorchSharp.torch.Tensor, TorchSharp.torch.Tensor?, bool, TorchSharp.torch.Tensor?, System.Tuple<TorchSharp.torch.Tensor, TorchSharp.torch.Tensor>>;

namespace DoraSharp.Tests.Injection;

/// <summary>An attention over what a sequence [T, N, 24] makes of itself, in the ways in which people hold and invoke one.</summary>
internal abstract class AttentionModel : Module<Tensor, Tensor>
{
    protected AttentionModel()
        : base("AttentionModel")
    {
    }

    /// <summary>Whether the attention weights are asked for.</summary>
    public bool NeedsWeights { get; set; } = true;

    /// <summary>What is added to the scores, [T, T].</summary>
    public Tensor? Mask { get; set; }

    /// <summary>The attention weights of the last call.</summary>
    public Tensor? Weights { get; private set; }

    public override Tensor forward(Tensor input)
    {
        using Tensor memory = input.tanh();
        (Tensor y, Tensor weights) = Attend(input, memory, memory);
        Weights?.Dispose();
        Weights = weights;
        using (y)
        {
            return input + y;
        }
    }

    protected abstract Tuple<Tensor, Tensor> Attend(Tensor query, Tensor key, Tensor value);

    protected static MultiheadAttention Make() => MultiheadAttention(24, 4);
}

internal sealed class OpenAttentionCalled : AttentionModel
{
    private readonly OpenAttention attention = Make();

    public OpenAttentionCalled() => RegisterComponents();

    protected override Tuple<Tensor, Tensor> Attend(Tensor query, Tensor key, Tensor value) => attention.call(query, key, value, null, NeedsWeights, Mask);
}

internal sealed class OpenAttentionForwarded : AttentionModel
{
    private readonly OpenAttention attention = Make();
    private readonly OpenAttention[] all;

    public OpenAttentionForwarded()
    {
        all = [attention];
        RegisterComponents();
    }

    protected override Tuple<Tensor, Tensor> Attend(Tensor query, Tensor key, Tensor value) => all[0].forward(query, key, value, null, NeedsWeights, Mask);
}

internal sealed class SealedAttentionCalled : AttentionModel
{
    private readonly MultiheadAttention attention = Make();

    public SealedAttentionCalled() => RegisterComponents();

    protected override Tuple<Tensor, Tensor> Attend(Tensor query, Tensor key, Tensor value) => attention.call(query, key, value, null, NeedsWeights, Mask);
}

internal sealed class SealedAttentionForwarded : AttentionModel
{
    private readonly MultiheadAttention attention = Make();

    public SealedAttentionForwarded() => RegisterComponents();

    protected override Tuple<Tensor, Tensor> Attend(Tensor query, Tensor key, Tensor value) => attention.forward(query, key, value, null, NeedsWeights, Mask);
}

/// <summary>An attention that libtorch cannot run, in a field that can hold another.</summary>
internal sealed class UnlikeWidths : AttentionModel
{
    private readonly OpenAttention attention = MultiheadAttention(24, 4, kdim: 10, vdim: 14);

    public UnlikeWidths() => RegisterComponents();

    protected override Tuple<Tensor, Tensor> Attend(Tensor query, Tensor key, Tensor value) =>
        attention.call(query, key[TensorIndex.Ellipsis, ..10], value[TensorIndex.Ellipsis, ..14], null, NeedsWeights, Mask);
}
