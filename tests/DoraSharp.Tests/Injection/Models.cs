using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

/// <summary>A feed-forward block in the ways in which people write them: the same function, the same parameters.</summary>
internal abstract class Block : Module<Tensor, Tensor>
{
    protected const int Width = 24;
    protected const int Hidden = 40;

    protected Block()
        : base("Block")
    {
    }

    /// <summary>Runs up, an activation, down, and the residual.</summary>
    protected static Tensor Run(Tensor x, Func<Tensor, Tensor> up, Func<Tensor, Tensor> down)
    {
        using var scope = NewDisposeScope();
        return (x + down(up(x).tanh())).MoveToOuterDisposeScope();
    }

    protected static Linear Up() => Linear(Width, Hidden, dtype: ScalarType.Float64);

    protected static Linear Down() => Linear(Hidden, Width, dtype: ScalarType.Float64);
}

internal sealed class OpenFields : Block
{
    private readonly Module<Tensor, Tensor> up = Up();
    private readonly Module<Tensor, Tensor> down = Down();

    public OpenFields() => RegisterComponents();

    public override Tensor forward(Tensor input) => Run(input, up.forward, down.forward);
}

internal sealed class OpenProperties : Block
{
    public OpenProperties() => RegisterComponents();

    [field: TorchSharp.Utils.ComponentName(Name = "up")]
    public Module<Tensor, Tensor> First { get; } = Up();

    [field: TorchSharp.Utils.ComponentName(Name = "down")]
    public Module<Tensor, Tensor> Second { get; set; } = Down();

    public override Tensor forward(Tensor input) => Run(input, First.forward, Second.call);
}

internal sealed class InDictionary : Block
{
    public InDictionary() => RegisterComponents();

    public override Tensor forward(Tensor input) => Run(input, Layers["up"].call, Layers["down"].call);

    private Dictionary<string, Module<Tensor, Tensor>> Layers { get; } = [];

    protected override void RegisterComponents()
    {
        if (Layers.Count == 0)
        {
            Layers.Add("up", Up());
            Layers.Add("down", Down());
            register_module("up", Layers["up"]);
            register_module("down", Layers["down"]);
        }
    }
}

internal sealed class InSequential : Block
{
    private readonly Sequential layers = Sequential(("up", Up()), ("act", Tanh()), ("down", Down()));

    public InSequential() => RegisterComponents();

    public override Tensor forward(Tensor input)
    {
        using Tensor y = layers.call(input);
        return input + y;
    }
}

internal sealed class InModuleList : Block
{
    private readonly ModuleList<Module<Tensor, Tensor>> layers = new(Up(), Down());

    public InModuleList() => RegisterComponents();

    public override Tensor forward(Tensor input) => Run(input, layers[0].call, layers[1].call);
}

internal sealed class InModuleDict : Block
{
    private readonly ModuleDict<Module<Tensor, Tensor>> layers = new();

    public InModuleDict()
    {
        layers.Add("up", Up());
        layers.Add("down", Down());
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => Run(input, layers["up"].call, layers[1].Item2.call);
}

internal sealed class InArrayWithAlias : Block
{
    private readonly Module<Tensor, Tensor> up = Up();
    private readonly Module<Tensor, Tensor> down = Down();
    private readonly Module[] all;
    private readonly Module<Tensor, Tensor> again;

    public InArrayWithAlias()
    {
        all = [up, down];
        again = up;
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => Run(input, again.call, ((Module<Tensor, Tensor>)all[1]).call);
}

internal sealed class SealedCalled : Block
{
    private readonly Linear up = Up();
    private readonly Linear down = Down();

    public SealedCalled() => RegisterComponents();

    public override Tensor forward(Tensor input) => Run(input, up.call, down.call);
}

internal sealed class SealedForwarded : Block
{
    private readonly Linear up = Up();
    private readonly Linear down = Down();

    public SealedForwarded() => RegisterComponents();

    public override Tensor forward(Tensor input) => Run(input, up.forward, down.forward);
}

internal sealed class SealedMixed : Block
{
    private readonly Linear up = Up();
    private readonly Linear[] rest = [Down()];

    public SealedMixed()
    {
        RegisterComponents();
        register_module("down", rest[0]);
    }

    public override Tensor forward(Tensor input) => Run(input, up.call, rest[0].forward);
}

/// <summary>Holds a layer that it never runs, and one that it runs through a delegate made at construction.</summary>
internal sealed class Hidden : Block
{
    private readonly Module<Tensor, Tensor> up = Up();
    private readonly Module<Tensor, Tensor> unused = Down();
    private readonly Module<Tensor, Tensor> down = Down();
    private readonly Func<Tensor, Tensor> runDown;

    public Hidden()
    {
        runDown = down.call;
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => Run(input, up.call, runDown);
}

/// <summary>Two blocks in a row, called or forwarded.</summary>
internal sealed class Stack(Block first, Block second, bool calls) : Module<Tensor, Tensor>("Stack")
{
    private readonly Block first = first;
    private readonly Block second = second;

    public Stack Register()
    {
        RegisterComponents();
        return this;
    }

    public override Tensor forward(Tensor input)
    {
        using Tensor x = calls ? first.call(input) : first.forward(input);
        return calls ? second.call(x) : second.forward(x);
    }
}

/// <summary>A sealed layer and nothing else.</summary>
internal sealed class SealedPlain : Module<Tensor, Tensor>
{
    private readonly Linear a = Linear(24, 24, dtype: ScalarType.Float64);

    public SealedPlain()
        : base(nameof(SealedPlain)) => RegisterComponents();

    public override Tensor forward(Tensor input) => a.call(input);
}

/// <summary>One layer that is invoked in both ways.</summary>
internal sealed class SealedBothWays : Module<Tensor, Tensor>
{
    private readonly Linear a = Linear(24, 24, dtype: ScalarType.Float64);

    public SealedBothWays()
        : base(nameof(SealedBothWays)) => RegisterComponents();

    public override Tensor forward(Tensor input) => a.forward(a.call(input).tanh());
}

/// <summary>Two branches that hold and forward the same sealed layer.</summary>
internal sealed class SealedShared : Module<Tensor, Tensor>
{
    private readonly Branch p;
    private readonly Branch q;

    public SealedShared()
        : base(nameof(SealedShared))
    {
        Linear a = Linear(24, 24, dtype: ScalarType.Float64);
        (p, q) = (new(a), new(a));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => q.call(p.call(input).tanh());

    private sealed class Branch : Module<Tensor, Tensor>
    {
        private readonly Linear a;

        public Branch(Linear a)
            : base(nameof(Branch))
        {
            this.a = a;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => a.forward(input);
    }
}

/// <summary>Holds its layer in a read-only collection as well.</summary>
internal sealed class InReadOnlyList : Block
{
    private readonly Module<Tensor, Tensor> up = Up();
    private readonly Module<Tensor, Tensor> down = Down();
    private readonly System.Collections.ObjectModel.ReadOnlyCollection<Module<Tensor, Tensor>> all;

    public InReadOnlyList()
    {
        all = new([down]);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => Run(input, up.call, all[0].call);
}
