using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Runs every <c>call</c> of a module as a gradient checkpoint.</summary>
internal abstract class CheckpointHooks(nn.Module module, string path) : IDisposable
{
    /// <summary>The module whose call this thread repeats, or makes for a checkpoint that is not there: its hooks let the next call pass.</summary>
    [ThreadStatic]
    private static CheckpointHooks? passing;

    private readonly ThreadLocal<CheckpointRecording?> current = new();

    /// <summary>The number of calls that became checkpoints.</summary>
    public long Uses { get; private set; }

    /// <summary>The module's path in its model.</summary>
    public string Path => path;

    /// <summary>Hooks a module of any signature.</summary>
    /// <exception cref="NotSupportedException">The module has no <c>call</c>.</exception>
    public static CheckpointHooks On(nn.Module module, string path)
    {
        for (Type? type = module.GetType(); type is not null; type = type.BaseType)
        {
            if (type.IsGenericType && CheckpointSignatures.Of(type.GetGenericTypeDefinition()) is { } hooks)
            {
                return (CheckpointHooks)Activator.CreateInstance(hooks.MakeGenericType(type.GetGenericArguments()), module, path)!;
            }
        }

        throw new NotSupportedException($"{path} is a {module.GetType().Name}, which is not called as a whole, so it cannot be a gradient checkpoint. Name the modules inside of it. Nothing was changed.");
    }

    public virtual void Dispose() => current.Dispose();

    /// <summary>Puts the last one of a dictionary's entries first.</summary>
    protected static void PutLastFirst<T>(Dictionary<string, T> hooks)
    {
        KeyValuePair<string, T>[] entries = [.. hooks];
        hooks.Clear();
        foreach ((string key, T hook) in entries.TakeLast(1).Concat(entries.SkipLast(1)))
        {
            hooks.Add(key, hook);
        }
    }

    /// <summary>Before a call.</summary>
    protected void Before(params object?[] arguments)
    {
        bool passes = ReferenceEquals(passing, this);
        passing = passes ? null : passing;
        current.Value = passes || !Checkpoint.Records ? null : CheckpointRecording.BeginHooked([.. TensorsIn(arguments)], module);
    }

    /// <summary>After a call.</summary>
    /// <param name="result">What it returned.</param>
    /// <param name="isLast">Whether no other hook sees the result afterwards.</param>
    /// <param name="call">Makes the same call with other arguments.</param>
    /// <param name="arguments">The arguments.</param>
    protected TResult After<TResult>(TResult result, bool isLast, Func<object?[], TResult> call, params object?[] arguments)
    {
        using CheckpointRecording? recording = current.Value;
        current.Value = null;
        if (recording is null)
        {
            return result;
        }

        if (!isLast)
        {
            throw new InvalidOperationException($"A forward hook was registered on {path} after gradient checkpointing was switched on there, which would miss it in the backward pass. Register it first.");
        }

        Tensor[] outputs = [.. TensorStructure.In(result)];
        Tensor[] kept = recording.End(outputs, tensors => Again(tensors, call, arguments));
        Uses++;
        return ReferenceEquals(kept, outputs) ? result : (TResult)TensorStructure.Replace(result, kept.AsEnumerable().GetEnumerator())!;
    }

    private static IEnumerable<Tensor> TensorsIn(object?[] arguments) => arguments.SelectMany(TensorStructure.In);

    private Tensor[] Again<TResult>(Tensor[] tensors, Func<object?[], TResult> call, object?[] arguments)
    {
        using IEnumerator<Tensor> next = tensors.AsEnumerable().GetEnumerator();
        object?[] replaced = Array.ConvertAll(arguments, argument => TensorStructure.Replace(argument, next));
        CheckpointHooks? before = passing;
        passing = this;
        try
        {
            return [.. TensorStructure.In(call(replaced))];
        }
        finally
        {
            passing = before;
        }
    }
}
