using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A running mean in 32 bits.</summary>
internal sealed class FloatMoment : Moment
{
    private readonly Tensor values;

    /// <summary>Takes the values.</summary>
    /// <param name="values">Float32 [elements].</param>
    public FloatMoment(Tensor values) => this.values = values.DetachFromDisposeScope();

    /// <inheritdoc/>
    protected override IReadOnlyList<Tensor> Tensors => [values];

    /// <inheritdoc/>
    public override Tensor Load(long start, long count) => values.narrow(0, start, count);

    /// <summary>Nothing to do: <see cref="Load"/> gave the memory itself.</summary>
    public override void Store(long start, Tensor values)
    {
    }

    /// <inheritdoc/>
    public override Moment Copy(Device device) => new FloatMoment(values.to(device, copy: true));

    /// <inheritdoc/>
    protected override void Check(bool signed) => Check(values, signed, "a running mean");
}
