using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>y = fc2(tanh(fc1 x)) with quantized layers: the model of the cases with adapters.</summary>
internal sealed class QuantizedNet : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> fc1;
    private readonly nn.Module<Tensor, Tensor> fc2;

    private QuantizedNet(QuantizedLinear first, QuantizedLinear second)
        : base(nameof(QuantizedNet))
    {
        (fc1, fc2) = (first, second);
        Layers = [("fc1", first), ("fc2", second)];
        RegisterComponents();
    }

    public IReadOnlyList<(string Name, QuantizedLinear Layer)> Layers { get; }

    /// <summary>The base of a case.</summary>
    public static QuantizedNet Load(BitsandbytesCase subject, ScalarType computeType)
    {
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(Path.Combine(subject.Folder, "base.safetensors"));
        return new(Layer("fc1"), Layer("fc2"));

        QuantizedLinear Layer(string name) =>
            new(BitsandbytesReader.Read(checkpoint, $"{name}.weight"), checkpoint.TryGetEntry($"{name}.bias", out _) ? checkpoint.Read($"{name}.bias") : null, computeType);
    }

    public override Tensor forward(Tensor input)
    {
        using Tensor hidden = fc1.call(input);
        using Tensor active = hidden.tanh();
        return fc2.call(active);
    }
}
