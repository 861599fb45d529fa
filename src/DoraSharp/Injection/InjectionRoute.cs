namespace DoraSharp;

/// <summary>How an adapter gets between a model and one of its linear layers.</summary>
public enum InjectionRoute
{
    /// <summary>Every field, list or dictionary that held the layer holds an <see cref="AdaptedLinear"/> now.</summary>
    Replace,

    /// <summary>
    /// The layer stays; a forward hook adds the adapters to its output. For fields declared as the sealed
    /// <c>Linear</c> that the model invokes by <c>call</c>.
    /// </summary>
    Hook,

    /// <summary>
    /// The layer stays; for the time of a call of a module above it, its weight is the effective weight. For fields
    /// declared as the sealed <c>Linear</c> that the model invokes by <c>forward</c>, which runs no hook. It costs a
    /// dense weight and a dense gradient per call, and calls of that module must not overlap: not from several threads.
    /// After a forward that threw, the layer keeps the substitute until the next call.
    /// </summary>
    SubstituteWeight,
}
