using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

/// <summary>A model whose modules take several arguments and return tuples.</summary>
internal sealed class SignatureModel : nn.Module<Tensor, Tensor>
{
    private readonly MultiheadAttention attention;
    private readonly LSTM lstm;
    private readonly ContextModule context = new();

    public SignatureModel(MultiheadAttention attention, LSTM lstm)
        : base(nameof(SignatureModel))
    {
        (this.attention, this.lstm) = (attention, lstm);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        (Tensor mixed, Tensor weights) = attention.call(input, input, input, null, true, null);
        (Tensor output, Tensor hidden, Tensor cell) = lstm.call(mixed);
        using var scope = NewDisposeScope();
        Scales scales = new() { Scale = weights.mean(), Other = null, Count = 2 };
        return context.call(output + hidden.sum() + cell.sum(), scales).MoveToOuterDisposeScope();
    }

    /// <summary>An argument that holds tensors, which its maker disposes.</summary>
    internal sealed record Scales
    {
        public required Tensor Scale { get; init; }

        public required Tensor? Other { get; init; }

        public required int Count { get; init; }
    }

    internal sealed class ContextModule() : nn.Module<Tensor, Scales, Tensor>(nameof(ContextModule))
    {
        public override Tensor forward(Tensor input, Scales scales) => input * scales.Scale * scales.Count;
    }
}
