using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>down(silu(gate(x)) ⊙ up(x)).</summary>
internal sealed class LlamaMlp : nn.Module<Tensor, Tensor>
{
    // Declared as the base type, here and in the attention, so that an adapter can take a projection's place.
    [ComponentName(Name = "gate_proj")]
    private readonly nn.Module<Tensor, Tensor> gate;
    [ComponentName(Name = "up_proj")]
    private readonly nn.Module<Tensor, Tensor> up;
    [ComponentName(Name = "down_proj")]
    private readonly nn.Module<Tensor, Tensor> down;

    public LlamaMlp(LlamaConfig config, Device? device, ScalarType dtype) : base(nameof(LlamaMlp))
    {
        gate = nn.Linear(config.HiddenSize, config.IntermediateSize, config.MlpBias, device, dtype);
        up = nn.Linear(config.HiddenSize, config.IntermediateSize, config.MlpBias, device, dtype);
        down = nn.Linear(config.IntermediateSize, config.HiddenSize, config.MlpBias, device, dtype);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        Tensor gated = nn.functional.silu(gate.call(input)) * up.call(input);
        return down.call(gated).MoveToOuterDisposeScope();
    }
}
