using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The random numbers that a call drew, so that it can draw them again.</summary>
/// <remarks>
/// On the CPU the generator's state is kept and set back. TorchSharp can seed the generators of CUDA devices, but not read them: there a call gets a
/// seed of its own, drawn on the CPU.
/// </remarks>
internal sealed class RepeatedRandomness : IDisposable
{
    private readonly Generator generator = Generator.Default;
    private readonly Tensor before;
    private readonly long? seed;
    private long repetitions;

    /// <summary>Starts to watch a call.</summary>
    /// <param name="onDevice">Whether it may draw numbers on a CUDA device.</param>
    public RepeatedRandomness(bool onDevice)
    {
        if (onDevice)
        {
            using Tensor drawn = randint(long.MaxValue, [1], dtype: ScalarType.Int64);
            seed = drawn.item<long>();
            cuda.manual_seed_all(seed.Value);
        }

        before = State();
    }

    /// <summary>Ends the first call.</summary>
    /// <returns>Whether numbers were, or may have been, drawn; if not, there is nothing to repeat.</returns>
    public bool End()
    {
        using Tensor now = State();
        bool isRandom = seed is not null || !now.Equals(before);
        if (!isRandom)
        {
            Dispose();
        }

        return isRandom;
    }

    /// <summary>Lets the same numbers come again until the scope is disposed, when those that were to come before come next.</summary>
    public IDisposable Repeat()
    {
        Tensor now = State();
        generator.set_state(before);
        if (seed is { } repeated)
        {
            cuda.manual_seed_all(repeated);
        }

        return new Scope(() =>
        {
            generator.set_state(now);
            now.Dispose();
            if (seed is { } first)
            {
                // Where the device's numbers had come to is not known: others follow that were not drawn before.
                cuda.manual_seed_all(first ^ ++repetitions);
            }
        });
    }

    public void Dispose()
    {
        before.Dispose();
        generator.Dispose();
    }

    private Tensor State() => generator.get_state().DetachFromDisposeScope();
}
