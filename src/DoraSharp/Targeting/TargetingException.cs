namespace DoraSharp;

/// <summary>Options do not fit a model. Users see an <see cref="ArgumentException"/>; the reason is for code.</summary>
internal sealed class TargetingException(TargetingError reason, string message, Exception? inner = null) : ArgumentException(message, inner)
{
    /// <summary>Why.</summary>
    public TargetingError Reason { get; } = reason;
}
