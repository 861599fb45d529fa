using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Cuda;

/// <summary>The same small adapted model on two devices.</summary>
internal static class CudaCase
{
    public const int Inputs = 96;
    public const int Outputs = 64;
    private const int Hidden = 160;
    private const int Rank = 8;
    private const int Seed = 23;

    /// <summary>What float32 products in another order may differ by.</summary>
    public const double Tolerance = 1e-5;

    public static LoraOptions Options(bool useDora, double dropout = 0) =>
        new() { Rank = Rank, Alpha = 2 * Rank, UseDora = useDora, Dropout = dropout, TargetModules = ["first", "second"] };

    /// <summary>A frozen layer on the CPU, the same every time.</summary>
    public static Linear NewLayer(ScalarType dtype)
    {
        manual_seed(Seed);
        Linear layer = nn.Linear(Inputs, Outputs).to(dtype);
        foreach (Parameter parameter in layer.parameters())
        {
            parameter.requires_grad = false;
        }

        return layer;
    }

    /// <summary>Two layers with a nonlinearity between them, on the CPU, the same every time; adapted by trained adapters, then moved.</summary>
    public static (Sequential Model, AdaptedModel Adapted) NewModel(bool useDora, Device device, double dropout = 0)
    {
        manual_seed(Seed);
        Sequential model = nn.Sequential(("first", nn.Linear(Inputs, Hidden)), ("gelu", nn.GELU()), ("second", nn.Linear(Hidden, Outputs)));
        AdaptedModel adapted = AdapterInjector.Inject(model, Options(useDora, dropout));
        foreach ((_, AdapterStack stack) in adapted.Layers)
        {
            Reference.Disturb(stack);
        }

        model.to(device);
        return (model, adapted);
    }

    /// <summary>An input [rows, in] on the CPU, the same every time.</summary>
    public static Tensor NewInput(int rows = 40)
    {
        manual_seed(Seed + 1);
        return randn(rows, Inputs);
    }
}
