namespace DoraSharp;

/// <summary>Counts how often the tensors of an adapter or of a base layer were asked for, as <c>state_dict()</c> does.</summary>
/// <remarks>
/// TorchSharp's <c>load</c> writes a file straight into the memory of the tensors that <c>state_dict()</c> gave it, which no version counter tells of.
/// So what was computed before a request is not used after it, whoever shares the memory. Modules tell by
/// <see cref="TorchSharp.torch.nn.Module.named_buffers"/>: of all that <c>state_dict()</c> does, only this passes through every kind of container.
/// </remarks>
internal static class StateRequests
{
    private static long count;

    /// <summary>The requests so far.</summary>
    public static long Count => Interlocked.Read(ref count);

    /// <summary>Notes a request.</summary>
    public static void Note() => Interlocked.Increment(ref count);
}
