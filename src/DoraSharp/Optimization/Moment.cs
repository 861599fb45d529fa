using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A running mean of a parameter's gradients, or of their squares: stored in some way, float32 for whoever computes with it.</summary>
/// <remarks>It owns its tensors, whatever dispose scope it was made in.</remarks>
internal abstract class Moment : IDisposable
{
    /// <summary>What is stored, in the order in which it is written.</summary>
    protected abstract IReadOnlyList<Tensor> Tensors { get; }

    /// <summary>The memory that it takes, in bytes.</summary>
    public long Bytes => Tensors.Sum(static tensor => tensor.numel() * tensor.element_size());

    /// <summary>Whether it lives on a device; <c>cuda</c> is the current one.</summary>
    public bool IsOn(Device device) => Tensors[0].device_type == device.type && (device.index < 0 || Tensors[0].device_index == device.index);

    /// <summary>A mean of nothing.</summary>
    /// <param name="elements">The number of the parameter's elements.</param>
    /// <param name="signed">Whether it can be negative.</param>
    /// <param name="eightBit">Whether it is stored in 8 bits rather than 32.</param>
    /// <param name="device">Where it lives.</param>
    public static Moment Zeros(long elements, bool signed, bool eightBit, Device device)
    {
        using var scope = NewDisposeScope();
        return eightBit
            ? new Blockwise8Moment(
                zeros([elements], ScalarType.Byte, device),
                zeros([BlockSpan.Count(elements, Blockwise8Moment.BlockSize)], ScalarType.Float32, device),
                signed)
            : new FloatMoment(zeros([elements], ScalarType.Float32, device));
    }

    /// <summary>The values of some elements, float32 [count], to be changed in place and given to <see cref="Store"/>.</summary>
    /// <param name="start">The first element, a multiple of <see cref="BlockSpan.Piece"/>.</param>
    /// <param name="count">How many; no more than that, and fewer only at the end.</param>
    public abstract Tensor Load(long start, long count);

    /// <summary>Keeps what <see cref="Load"/> gave and the caller changed.</summary>
    public abstract void Store(long start, Tensor values);

    /// <summary>A copy on a device, with memory of its own.</summary>
    public abstract Moment Copy(Device device);

    /// <summary>Writes the bytes of what is stored; how many there are follows from the parameter.</summary>
    public void Write(Stream stream)
    {
        foreach (Tensor tensor in Tensors)
        {
            TensorBytes.Write(tensor, stream);
        }
    }

    /// <summary>Fills a fresh moment on the CPU with what <see cref="Write"/> wrote.</summary>
    /// <param name="stream">Where to read.</param>
    /// <param name="signed">Whether it can be negative.</param>
    /// <exception cref="EndOfStreamException">There are fewer bytes.</exception>
    /// <exception cref="InvalidDataException">A number is not finite, or negative where it cannot be.</exception>
    public void Read(Stream stream, bool signed)
    {
        foreach (Tensor tensor in Tensors)
        {
            TensorBytes.Fill(tensor, stream);
        }

        Check(signed);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor tensor in Tensors)
        {
            tensor.Dispose();
        }
    }

    /// <summary>Refuses stored numbers that no steps lead to.</summary>
    protected abstract void Check(bool signed);

    /// <summary>Refuses numbers that are not finite, or negative where they cannot be.</summary>
    protected static void Check(Tensor numbers, bool signed, string what)
    {
        using var scope = NewDisposeScope();
        if (!Finite.All(numbers) || (!signed && numbers.lt(0).any().item<bool>()))
        {
            throw new InvalidDataException($"{what} {(signed ? "must be finite" : "must be finite and not negative")}.");
        }
    }
}
