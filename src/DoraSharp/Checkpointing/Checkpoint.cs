using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Gradient checkpointing (arXiv 1604.06174): what a part of a model computes on its way is not kept for the backward pass but computed again in
/// it, so that memory is paid with time.
/// </summary>
/// <remarks>
/// <para>
/// The gradients are those of the same computation without a checkpoint, bit for bit on the CPU: of the inputs, and of every parameter that the
/// function uses, also where no input needs a gradient (frozen embeddings). Dropout draws the same masks again, and the generator goes on
/// afterwards as if nothing had been drawn. On a CUDA device, whose generator TorchSharp cannot read, each call seeds it anew from the CPU's.
/// </para>
/// <para>
/// The function must be repeatable: it must not change its inputs in place, and what it uses must be the same in the backward pass: weights, active
/// adapters, training mode. Where such a change is seen, the backward pass throws. Tensors with a history of their own must be inputs, not
/// captured variables. Side effects, such as a batch norm's running statistics, happen twice. Second derivatives (<c>create_graph</c>) are refused.
/// <c>autograd.grad</c> and <c>backward(inputs: ...)</c> see the inputs and the parameters of a given module, but not what a function captures.
/// </para>
/// <para>Equivalent of <c>torch.utils.checkpoint.checkpoint</c> in its reentrant form; under <c>no_grad</c> the function just runs.</para>
/// </remarks>
public static class Checkpoint
{
    [ThreadStatic]
    private static int suspended;

    internal static bool Records => suspended == 0 && is_grad_enabled();

    /// <summary>Runs a function of one tensor without keeping what it computes on its way.</summary>
    /// <param name="function">The function, which runs again in the backward pass.</param>
    /// <param name="input">Its input, of any shape.</param>
    /// <returns>Its output.</returns>
    /// <exception cref="InvalidOperationException">The function changed its input, or would run on substituted weights (<see cref="InjectionRoute.SubstituteWeight"/>) that a repetition would not see.</exception>
    public static Tensor Run(Func<Tensor, Tensor> function, Tensor input)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentNullException.ThrowIfNull(input);
        return Run(inputs => [function(inputs[0])], [input], module: null)[0];
    }

    /// <summary>Runs a function of several tensors without keeping what it computes on its way.</summary>
    /// <param name="function">The function, which runs again in the backward pass.</param>
    /// <param name="inputs">Its inputs, of any shapes and dtypes.</param>
    /// <returns>Its outputs.</returns>
    /// <inheritdoc cref="Run(Func{Tensor, Tensor}, Tensor)" path="/exception"/>
    public static IReadOnlyList<Tensor> Run(Func<IReadOnlyList<Tensor>, IReadOnlyList<Tensor>> function, IReadOnlyList<Tensor> inputs)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentNullException.ThrowIfNull(inputs);
        return Run(tensors => [.. function(tensors)], [.. inputs], module: null);
    }

    /// <summary>Calls a module without keeping what it computes on its way. Its weights and mode are compared in the backward pass.</summary>
    /// <param name="module">The module, which is called again in the backward pass.</param>
    /// <param name="input">Its input, of any shape.</param>
    /// <returns>Its output.</returns>
    /// <inheritdoc cref="Run(Func{Tensor, Tensor}, Tensor)" path="/exception"/>
    public static Tensor Run(nn.Module<Tensor, Tensor> module, Tensor input)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(input);
        return Run(inputs => [module.call(inputs[0])], [input], module)[0];
    }

    /// <summary>Calls a module of two tensors without keeping what it computes on its way. Its weights and mode are compared in the backward pass.</summary>
    /// <param name="module">The module, which is called again in the backward pass.</param>
    /// <param name="input1">Its first input, of any shape.</param>
    /// <param name="input2">Its second input, of any shape.</param>
    /// <returns>Its output.</returns>
    /// <inheritdoc cref="Run(Func{Tensor, Tensor}, Tensor)" path="/exception"/>
    public static Tensor Run(nn.Module<Tensor, Tensor, Tensor> module, Tensor input1, Tensor input2)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(input1);
        ArgumentNullException.ThrowIfNull(input2);
        return Run(inputs => [module.call(inputs[0], inputs[1])], [input1, input2], module)[0];
    }

    /// <summary>Lets checkpoints do nothing on this thread until the scope is disposed: for those who look at the graph.</summary>
    internal static IDisposable Suspend()
    {
        suspended++;
        return new Scope(static () => suspended--);
    }

    private static Tensor[] Run(Func<Tensor[], Tensor[]> function, Tensor[] inputs, nn.Module? module)
    {
        if (!Records)
        {
            return function(inputs);
        }

        using CheckpointRecording recording = new(inputs, module);
        return recording.End(function(inputs), function);
    }
}
