using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Checkpointing;

/// <summary>Token ids in, scores out, blocks between.</summary>
internal sealed class CheckpointModel : nn.Module<Tensor, Tensor>
{
    public const string Blocks = @"blocks\.\d+";

    [ComponentName(Name = "embedding")]
    private readonly Embedding embedding = nn.Embedding(50, 24);
    [ComponentName(Name = "blocks")]
    private readonly ModuleList<nn.Module<Tensor, Tensor>> blocks;
    [ComponentName(Name = "head")]
    private readonly nn.Module<Tensor, Tensor> head = nn.Linear(24, 7);

    public CheckpointModel(params nn.Module<Tensor, Tensor>[] blocks)
        : base(nameof(CheckpointModel))
    {
        this.blocks = nn.ModuleList(blocks);
        RegisterComponents();
    }

    /// <summary>Whether the blocks are invoked by forward.</summary>
    public bool Forwards { get; set; }

    public static CheckpointModel OfBlocks(double dropout = .3) =>
        new(new CheckpointBlock(24, 40, dropout), new CheckpointBlock(24, 40, dropout), new CheckpointBlock(24, 40, dropout));

    /// <summary>One of the blocks that <see cref="OfBlocks"/> made.</summary>
    public CheckpointBlock Block(int index) => (CheckpointBlock)blocks[index];

    public override Tensor forward(Tensor ids)
    {
        Tensor hidden = embedding.call(ids);
        foreach (nn.Module<Tensor, Tensor> block in blocks)
        {
            hidden = Forwards ? block.forward(hidden) : block.call(hidden);
        }

        return head.call(hidden);
    }
}
