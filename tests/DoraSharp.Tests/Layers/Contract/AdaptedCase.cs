using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Contract;

/// <summary>A layer of the contract in a model of its own, with a first adapter "a".</summary>
internal sealed class AdaptedCase : IDisposable
{
    public const string First = "a";

    public AdaptedCase(LayerCase layer, AdapterKind kind, ScalarType dtype, double dropout = 0, BiasTraining bias = BiasTraining.LoraOnly)
    {
        Case = layer;
        manual_seed(301);
        Layer = layer.Make();
        Layer.to(dtype);
        Model = nn.Sequential(("layer", Layer));
        Input = layer.Input();
        Input = layer.TakesIds ? Input : Input.to(dtype);
        AdapterOptions options = OptionsOf(layer, kind, dropout, bias);
        Adapted = options is VeraOptions vera
            ? AdapterInjector.InjectVera(Model, vera, new() { AdapterName = First })
            : AdapterInjector.Inject(Model, (LoraOptions)options, new() { AdapterName = First });
    }

    public LayerCase Case { get; }

    public nn.Module<Tensor, Tensor> Layer { get; }

    public Sequential Model { get; }

    public AdaptedModel Adapted { get; }

    public AdapterStack Stack => Adapted.Layers[0].Value;

    public Tensor Input { get; set; }

    public Parameter Weight => Layer.get_parameter("weight")!;

    public Parameter? Bias => Layer.get_parameter("bias");

    /// <summary>Whether an adapter of this kind can be made for such a layer.</summary>
    public static bool Exists(LayerCase layer, AdapterKind kind) => kind switch
    {
        AdapterKind.LoraWithBias => !layer.TakesIds,

        // VeRA has no layout of PEFT's for groups.
        AdapterKind.Vera or AdapterKind.Dvora => layer.CanMerge,
        _ => true,
    };

    public static AdapterOptions OptionsOf(LayerCase layer, AdapterKind kind, double dropout = 0, BiasTraining bias = BiasTraining.None) => kind is AdapterKind.Vera or AdapterKind.Dvora
        ? new VeraOptions { Rank = 5, UseDora = kind == AdapterKind.Dvora, TargetModules = ["layer"], Dropout = dropout, Bias = bias, ProjectionKey = 3 }
        : new LoraOptions
        {
            Rank = 4,
            Alpha = 6,
            UseDora = kind == AdapterKind.Dora,
            LoraBias = kind == AdapterKind.LoraWithBias,
            TargetModules = ["layer"],
            GroupedUpdate = layer.GroupedUpdate,
            Dropout = dropout,
            Bias = bias,
        };

    /// <summary>Adds another adapter.</summary>
    public void Add(string name, AdapterKind kind)
    {
        if (OptionsOf(Case, kind) is VeraOptions vera)
        {
            Adapted.AddVera(name, vera);
        }
        else
        {
            Adapted.Add(name, (LoraOptions)OptionsOf(Case, kind));
        }
    }

    /// <summary>Gives all adapters values as training would: matrices filled, magnitudes moved by up to 20 %.</summary>
    public void Disturb(int seed = 5)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Generator generator = new((ulong)seed);
        foreach ((string name, Parameter parameter) in Stack.named_parameters())
        {
            if (name.EndsWith("magnitude_vector", StringComparison.Ordinal))
            {
                parameter.mul_(1 + (0.4 * (rand(parameter.shape, dtype: ScalarType.Float64, generator: generator) - 0.5)).to(parameter.dtype));
            }
            else
            {
                parameter.copy_(randn(parameter.shape, dtype: ScalarType.Float64, generator: generator) * 0.3);
            }
        }
    }

    public Tensor Run() => Model.call(Input);

    public void Dispose()
    {
        Adapted.Dispose();
        Model.Dispose();
    }
}
