using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Fills a model from a safetensors checkpoint, one tensor at a time, and quantizes linear layers as they are read: at no time
/// is there more than the quantized model and two dense layers.
/// </summary>
/// <remarks>
/// For that the model is built on the meta device, where tensors have a shape and no memory: <c>new Model(device: torch.META)</c>.
/// Weights that are quantized in the file (<see cref="BitsandbytesReader"/>) become <see cref="QuantizedLinear"/> layers as they are.
/// </remarks>
public static class CheckpointLoader
{
    /// <summary>Builds a model and fills it.</summary>
    /// <typeparam name="TModel">The model's type.</typeparam>
    /// <param name="create">Builds the model, on the meta device or elsewhere; what is there already is overwritten.</param>
    /// <param name="checkpoint">The checkpoint, which stays the caller's.</param>
    /// <param name="options">What to quantize, and how; by default nothing.</param>
    /// <returns>The model. Where anything fails it is disposed.</returns>
    /// <exception cref="InvalidDataException">Tensors are missing, unexpected or misshapen, or a quantization state cannot be used; the message names file and tensors.</exception>
    /// <exception cref="InvalidOperationException">Something that holds a layer cannot hold a quantized one; the message names it and the way out.</exception>
    /// <exception cref="NotSupportedException">A module on the meta device cannot be given memory; the message names it and the way out.</exception>
    /// <exception cref="ArgumentException">A target matches nothing, or a weight cannot be quantized: it has values that are not finite.</exception>
    public static TModel Load<TModel>(Func<TModel> create, SafetensorsCheckpoint checkpoint, CheckpointOptions? options = null)
        where TModel : nn.Module
    {
        ArgumentNullException.ThrowIfNull(create);
        ArgumentNullException.ThrowIfNull(checkpoint);
        options ??= new CheckpointOptions();
        TModel model = create();
        try
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            CheckpointPlan plan = CheckpointPlan.Create(model, checkpoint, options);
            using CheckpointBuffer buffer = new(checkpoint, plan.Steps.OfType<QuantizedLayerStep>().Select(static step => step.DenseSource).OfType<string>());
            int done = 0;
            foreach (CheckpointStep step in plan.Steps)
            {
                step.Run(checkpoint, options, buffer);
                done++;
                options.Progress?.Report(new(step.Name, done, plan.Steps.Count, step is QuantizedLayerStep));
            }

            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}
