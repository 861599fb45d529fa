using System.Collections.Concurrent;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Memory to decode quantized weights into: of all that were lent, one buffer is kept per device and dtype, for whoever comes
/// next. While it is lent, as to a model on another thread, the next one gets a buffer of its own, which does not stay.
/// </summary>
internal readonly struct DecodeScratch : IDisposable
{
    private static readonly ConcurrentDictionary<(DeviceType, int, ScalarType), Place> Places = new();

    private readonly Place place;
    private readonly Tensor buffer;

    private DecodeScratch(Place place, Tensor buffer)
    {
        this.place = place;
        this.buffer = buffer;
    }

    /// <summary>Lends memory.</summary>
    /// <param name="elements">How many elements at least.</param>
    /// <param name="dtype">Their type.</param>
    /// <param name="device">The device.</param>
    public static DecodeScratch Rent(long elements, ScalarType dtype, Device device)
    {
        Place place = Places.GetOrAdd((device.type, device.index, dtype), static _ => new());
        return new(place, place.Take(elements) ?? New(elements, dtype, device));
    }

    /// <summary>The first elements as a matrix.</summary>
    public Tensor Matrix(long rows, long columns)
    {
        using Tensor first = buffer.narrow(0, 0, rows * columns);
        return first.view(rows, columns);
    }

    public void Dispose() => place.PutBack(buffer);

    private static Tensor New(long elements, ScalarType dtype, Device device)
    {
        // Training may use it after evaluation in inference mode, whose tensors autograd would refuse.
        using var noInference = inference_mode(false);
        using var noGrad = no_grad();
        return empty([elements], dtype, device).DetachFromDisposeScope();
    }

    private sealed class Place
    {
        private Tensor? idle;

        public Tensor? Take(long elements)
        {
            Tensor? buffer = Interlocked.Exchange(ref idle, null);
            if (buffer is not null && buffer.numel() < elements)
            {
                buffer.Dispose();
                return null;
            }

            return buffer;
        }

        public void PutBack(Tensor buffer)
        {
            Tensor? other = Interlocked.Exchange(ref idle, buffer);
            other?.Dispose();
        }
    }
}
