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
        RegisterComponents();
    }

    /// <summary>The base of a case.</summary>
    /// <param name="subject">The case.</param>
    /// <param name="computeType">What the layers compute in.</param>
    /// <param name="layers">The layers, which adapters wrap; the model itself must not hold them twice.</param>
    public static QuantizedNet Load(BitsandbytesCase subject, ScalarType computeType, out IReadOnlyList<(string Name, QuantizedLinear Layer)> layers)
    {
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(Path.Combine(subject.Folder, "base.safetensors"));
        QuantizedLinear first = Layer("fc1"), second = Layer("fc2");
        layers = [("fc1", first), ("fc2", second)];
        return new(first, second);

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
