using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Gathers what data-driven initializations need, by running a model on some batches before it is adapted.</summary>
/// <remarks>
/// The model runs in evaluation mode, so that dropout does not blur the data, and is left as it was found, also where a
/// batch throws. No activation is kept: a layer costs [in, in] in float64 (EVA, CorDA) or a copy of its weight (LoRA-GA).
/// </remarks>
public static class DataCollector
{
    /// <summary>Gathers the scatter matrices of layers' inputs for <see cref="LoraInitialization.Eva"/>. PEFT: <c>initialize_lora_eva_weights</c>.</summary>
    /// <typeparam name="TBatch">What the caller calls a batch.</typeparam>
    /// <param name="model">The model. Its layers must be invoked by <c>call</c>: TorchSharp's hooks do not see <c>forward</c>.</param>
    /// <param name="paths">The paths of the layers, each from one tensor [..., in] to one.</param>
    /// <param name="batches">The data: some thousand rows of input are enough, and more than the rank are needed.</param>
    /// <param name="forward">Runs the model on a batch.</param>
    /// <param name="kept">
    /// Which positions of a batch count, as a bool tensor of the shape of the layers' inputs without their last dimension,
    /// such as [batch, tokens]: to leave out padding, or prompts as PEFT's label mask does. All where it is <see langword="null"/>. Disposed after use.
    /// </param>
    /// <returns>The data; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">A path leads to no layer that can be watched, there are no batches, or a layer got values that are not finite.</exception>
    /// <exception cref="InvalidOperationException">A layer was never invoked by <c>call</c>, got no input that counts, or a mask does not fit its input.</exception>
    public static InitializationData ForEva<TBatch>(
        nn.Module model, IReadOnlyCollection<string> paths, IEnumerable<TBatch> batches, Action<TBatch> forward, Func<TBatch, Tensor>? kept = null) =>
        FromInputs(LoraInitialization.Eva, () => new InputScatter(), model, paths, batches, forward, kept);

    /// <summary>Gathers the covariances of layers' inputs for <see cref="LoraInitialization.Corda"/>. PEFT: <c>preprocess_corda</c>.</summary>
    /// <typeparam name="TBatch">What the caller calls a batch.</typeparam>
    /// <param name="model">The model. Its layers must be invoked by <c>call</c>: TorchSharp's hooks do not see <c>forward</c>.</param>
    /// <param name="paths">The paths of the layers, each from one tensor [..., in] to one.</param>
    /// <param name="batches">The data. An input [batch, tokens, in] counts as one sample per entry of its batch, [tokens, in] as one.</param>
    /// <param name="forward">Runs the model on a batch.</param>
    /// <param name="kept">Which positions of a batch count: see <see cref="ForEva"/>.</param>
    /// <returns>The data; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">A path leads to no layer that can be watched, there are no batches, or a layer got values that are not finite.</exception>
    /// <exception cref="InvalidOperationException">A layer was never invoked by <c>call</c>, got no input that counts, or a mask does not fit its input.</exception>
    public static InitializationData ForCorda<TBatch>(
        nn.Module model, IReadOnlyCollection<string> paths, IEnumerable<TBatch> batches, Action<TBatch> forward, Func<TBatch, Tensor>? kept = null) =>
        FromInputs(LoraInitialization.Corda, () => new ContextCovariance(), model, paths, batches, forward, kept);

    /// <summary>Gathers the gradients of weights, averaged over the batches, for <see cref="LoraInitialization.LoraGa"/>. PEFT: <c>preprocess_loraga</c>.</summary>
    /// <typeparam name="TBatch">What the caller calls a batch.</typeparam>
    /// <param name="model">The model. It does not matter how it invokes its layers.</param>
    /// <param name="paths">The paths of the layers, each with a parameter <c>weight</c> of two dimensions or more.</param>
    /// <param name="batches">The data.</param>
    /// <param name="loss">The loss of a batch, one element; disposed after use.</param>
    /// <returns>The data; the caller disposes them.</returns>
    /// <exception cref="ArgumentException">A path leads to no layer with a weight, there are no batches, the loss has several elements, or a gradient is not finite.</exception>
    /// <exception cref="InvalidOperationException">The loss does not depend on a layer's weight.</exception>
    public static InitializationData ForLoraGa<TBatch>(
        nn.Module model, IReadOnlyCollection<string> paths, IEnumerable<TBatch> batches, Func<TBatch, Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        Dictionary<string, nn.Module> layers = Find(model, paths);
        using EvaluationMode evaluation = new(model);
        using WeightGradients gradients = new(model, layers);
        using (enable_grad())
        {
            Run(batches, batch => gradients.Add(loss(batch)));
        }

        // What is refused here goes with the scope; what is accepted leaves it.
        using var results = NewDisposeScope();
        return new(LoraInitialization.LoraGa, gradients.Means());
    }

    private static InitializationData FromInputs<TBatch>(
        LoraInitialization method,
        Func<InputStatistics> gather,
        nn.Module model,
        IReadOnlyCollection<string> paths,
        IEnumerable<TBatch> batches,
        Action<TBatch> forward,
        Func<TBatch, Tensor>? kept)
    {
        ArgumentNullException.ThrowIfNull(forward);
        Dictionary<string, nn.Module> layers = Find(model, paths);
        using EvaluationMode evaluation = new(model);
        using InputWatch watch = new(layers, gather);
        using (no_grad())
        {
            Run(batches, batch =>
            {
                watch.Kept = kept?.Invoke(batch);
                forward(batch);
            });
        }

        using var results = NewDisposeScope();
        return new(method, watch.Results());
    }

    private static Dictionary<string, nn.Module> Find(nn.Module model, IReadOnlyCollection<string> paths)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(paths);
        if (paths.Count == 0)
        {
            throw new ArgumentException("There are no paths of layers to look at.", nameof(paths));
        }

        return paths.Distinct(StringComparer.Ordinal).ToDictionary(path => path, path => Follow(model, path), StringComparer.Ordinal);
    }

    /// <summary>Follows a path part by part, so that every alias of a module is found, not only its first name.</summary>
    private static nn.Module Follow(nn.Module model, string path)
    {
        nn.Module module = model;
        foreach (string part in path.Split('.'))
        {
            module = module.named_children().FirstOrDefault(child => child.name == part).module
                ?? throw new ArgumentException($"The model has no module '{path}': there is no '{part}'. See named_modules() for the paths.", nameof(path));
        }

        return module;
    }

    private static void Run<TBatch>(IEnumerable<TBatch> batches, Action<TBatch> step)
    {
        ArgumentNullException.ThrowIfNull(batches);
        bool any = false;
        foreach (TBatch batch in batches)
        {
            using var scope = NewDisposeScope();
            step(batch);
            any = true;
        }

        if (!any)
        {
            throw new ArgumentException("There are no batches to run the model on.", nameof(batches));
        }
    }
}
