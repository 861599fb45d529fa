using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection.Lifecycle;

/// <summary>Ids to logits, with a head that may share the embedding's weight, and modules that people save whole.</summary>
internal sealed class TrainedModel : nn.Module<Tensor, Tensor>
{
    public const long Tokens = 13;

    private readonly nn.Module<Tensor, Tensor> embed;
    private readonly nn.Module<Tensor, Tensor> up = nn.Linear(8, 10);
    private readonly nn.Module<Tensor, Tensor> norm = nn.LayerNorm(10);
    private readonly nn.Module<Tensor, Tensor> batch = nn.BatchNorm1d(10);
    private readonly nn.Module<Tensor, Tensor> down = nn.Linear(10, 8);
    private readonly nn.Module<Tensor, Tensor> head;

    public TrainedModel(bool tied)
        : base(nameof(TrainedModel))
    {
        Embedding table = nn.Embedding(Tokens, 8, dtype: ScalarType.Float64);
        Linear output = nn.Linear(8, Tokens, hasBias: false, dtype: ScalarType.Float64);
        if (tied)
        {
            output.weight = table.weight!;
        }

        (embed, head) = (table, output);
        RegisterComponents();
        foreach (nn.Module module in new[] { up, norm, batch, down })
        {
            module.to(ScalarType.Float64);
        }
    }

    public static TrainedModel Make(bool tied = false)
    {
        manual_seed(404);
        TrainedModel model = new(tied);
        model.eval();
        return model;
    }

    public static Tensor Input() => arange(Tokens, ScalarType.Int64).repeat(2).reshape(2, Tokens);

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor h = norm.call(up.call(embed.call(input)));
        Tensor x = batch.call(h.transpose(1, 2)).transpose(1, 2).contiguous().tanh();
        return head.call(down.call(x)).MoveToOuterDisposeScope();
    }
}
