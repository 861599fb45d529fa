using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Remembers the state of the CPU's random numbers and sets it back when disposed.</summary>
/// <remarks>TorchSharp cannot read the state of another device's numbers.</remarks>
internal sealed class RandomState : IDisposable
{
    private readonly Generator generator = Generator.Default;
    private readonly Tensor state;

    public RandomState() => state = generator.get_state().DetachFromDisposeScope();

    /// <summary>Lets the same numbers come again.</summary>
    public void Restore() => generator.set_state(state);

    public void Dispose()
    {
        if (!state.IsInvalid)
        {
            Restore();
            state.Dispose();
            generator.Dispose();
        }
    }
}
