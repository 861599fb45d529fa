using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What <see cref="AdamW8Bit"/> remembers of one parameter, and its step.</summary>
internal sealed class AdamW8BitState : OptimizerState, IDisposable
{
    private long steps;

    /// <summary>The state before the first step.</summary>
    /// <param name="parameter">The parameter, which stays the caller's.</param>
    /// <param name="eightBit">Whether to store it in 8 bits rather than 32.</param>
    public AdamW8BitState(Parameter parameter, bool eightBit)
        : this(
            parameter,
            Moment.Zeros(parameter.numel(), signed: true, eightBit, parameter.device),
            Moment.Zeros(parameter.numel(), signed: false, eightBit, parameter.device),
            0)
    {
    }

    private AdamW8BitState(Parameter parameter, Moment mean, Moment square, long steps)
        : base(parameter) => (Mean, Square, this.steps) = (mean, square, steps);

    /// <summary>m, the running mean of gradients.</summary>
    public Moment Mean { get; private set; }

    /// <summary>v, the running mean of squared gradients.</summary>
    public Moment Square { get; private set; }

    /// <summary>The memory that the state takes, in bytes.</summary>
    public long Bytes => Mean.Bytes + Square.Bytes;

    private bool EightBit => Mean is Blockwise8Moment;

    /// <summary>
    /// m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← (1−ηλ)p − η/(1−β₁ᵗ)·m/(√v/√(1−β₂ᵗ) + ε) in float32, from m and v as they are before
    /// they are rounded to what is stored.
    /// </summary>
    /// <param name="gradient">g, in the parameter's shape, finite.</param>
    /// <param name="settings">η, β₁, β₂, ε, λ.</param>
    /// <param name="maximize">Whether to go up.</param>
    public void Step(Tensor gradient, AdamW8BitOptions settings, bool maximize)
    {
        using var scope = NewDisposeScope();
        to(_parameter.device);
        steps++;
        double rate = settings.LearningRate / (1 - Math.Pow(settings.Beta1, steps));
        double correction = Math.Sqrt(1 - Math.Pow(settings.Beta2, steps));
        Tensor parameter = _parameter.detach();
        Tensor values = parameter.flatten(), gradients = gradient.detach().flatten();
        for (long start = 0; start < values.numel(); start += BlockSpan.Piece)
        {
            using var piece = NewDisposeScope();
            long count = Math.Min(BlockSpan.Piece, values.numel() - start);
            Tensor g = gradients.narrow(0, start, count).to(ScalarType.Float32);
            g = maximize ? -g : g;
            Tensor m = Mean.Load(start, count).mul_(settings.Beta1).add_(g, alpha: 1 - settings.Beta1);
            Tensor v = Square.Load(start, count).mul_(settings.Beta2).addcmul_(g, g, value: 1 - settings.Beta2);
            Tensor some = values.narrow(0, start, count);
            Tensor p = some.to(ScalarType.Float32).mul_(1 - (settings.LearningRate * settings.WeightDecay));
            some.copy_(p.addcdiv_(m, v.sqrt().div_(correction).add_(settings.Epsilon), value: -rate));
            Mean.Store(start, m);
            Square.Store(start, v);
        }

        // Only of a parameter whose elements do not lie in order are these a copy.
        if (!parameter.is_contiguous())
        {
            parameter.copy_(values.view(parameter.shape));
        }
    }

    /// <summary>Reads what <see cref="SaveStateDict"/> wrote, as another state of this parameter.</summary>
    /// <exception cref="InvalidDataException">It is about another number of elements, or holds numbers that no steps lead to.</exception>
    /// <exception cref="EndOfStreamException">It is cut off.</exception>
    public AdamW8BitState Read(BinaryReader reader)
    {
        long read = reader.ReadInt64(), elements = reader.ReadInt64();
        byte bits = reader.ReadByte();
        Require(read is >= 0 and < long.MaxValue, $"{read} is no number of steps");
        Require(elements == _parameter.numel(), $"it is about a parameter of {elements} elements, not of {_parameter.numel()}");
        Require(bits is 8 or 32, $"there are no states of {bits} bits");
        using Moment mean = Moment.Zeros(elements, signed: true, bits == 8, CPU);
        using Moment square = Moment.Zeros(elements, signed: false, bits == 8, CPU);
        mean.Read(reader.BaseStream, signed: true);
        square.Read(reader.BaseStream, signed: false);
        return new(_parameter, mean.Copy(_parameter.device), square.Copy(_parameter.device), read);

        static void Require(bool holds, string otherwise)
        {
            if (!holds)
            {
                throw new InvalidDataException(otherwise);
            }
        }
    }

    /// <summary>A copy of a state, as another one of this parameter.</summary>
    /// <exception cref="ArgumentException">It is another optimizer's, or of another number of elements.</exception>
    public AdamW8BitState Copy(OptimizerState source) => source is AdamW8BitState state && state._parameter.numel() == _parameter.numel()
        ? new(_parameter, state.Mean.Copy(_parameter.device), state.Square.Copy(_parameter.device), state.steps)
        : throw new ArgumentException($"it is none of {nameof(AdamW8Bit)} about a parameter of {_parameter.numel()} elements", nameof(source));

    /// <summary>Exchanges what is remembered with another state of the parameter, which cannot fail.</summary>
    public void Exchange(AdamW8BitState other)
    {
        (Mean, other.Mean) = (other.Mean, Mean);
        (Square, other.Square) = (other.Square, Square);
        (steps, other.steps) = (other.steps, steps);
    }

    /// <inheritdoc/>
    public override void SaveStateDict(BinaryWriter writer)
    {
        writer.Write(steps);
        writer.Write(_parameter.numel());
        writer.Write((byte)(EightBit ? 8 : 32));
        writer.Flush();
        Mean.Write(writer.BaseStream);
        Square.Write(writer.BaseStream);
    }

    /// <inheritdoc/>
    public override void LoadStateDict(BinaryReader reader)
    {
        using AdamW8BitState read = Read(reader);
        Exchange(read);
    }

    /// <inheritdoc/>
    public override void LoadStateDict(OptimizerState source)
    {
        using AdamW8BitState copy = Copy(source);
        Exchange(copy);
    }

    /// <inheritdoc/>
    public override void Initialize(OptimizerOptions options)
    {
        using AdamW8BitState fresh = new(_parameter, EightBit);
        Exchange(fresh);
    }

    /// <inheritdoc/>
    public override void to(Device device)
    {
        if (!Mean.IsOn(device))
        {
            using AdamW8BitState moved = new(_parameter, Mean.Copy(device), Square.Copy(device), steps);
            Exchange(moved);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Mean.Dispose();
        Square.Dispose();
    }
}
