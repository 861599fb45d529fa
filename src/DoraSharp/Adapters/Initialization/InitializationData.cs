using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// What a data-driven initialization needs to know of each layer, by the layer's path: one matrix.
/// <see cref="DataCollector"/> gathers it from a model and data.
/// </summary>
/// <remarks>
/// <list type="table">
/// <item><term><see cref="LoraInitialization.Eva"/></term><description>The scatter matrix Σ (x − mean)(x − mean)ᵀ of the layer's inputs x, [in, in].</description></item>
/// <item><term><see cref="LoraInitialization.Corda"/></term><description>The mean over samples of Xᵀ X of the layer's inputs X, each sample divided by |max X|, [in, in].</description></item>
/// <item><term><see cref="LoraInitialization.LoraGa"/></term><description>The loss's gradient to the layer's weight, in the weight's own shape.</description></item>
/// </list>
/// </remarks>
public sealed class InitializationData : IDisposable
{
    private readonly Dictionary<string, Tensor> matrices;

    /// <summary>Takes over matrices that were gathered elsewhere.</summary>
    /// <param name="method">The initialization that they are for.</param>
    /// <param name="matrices">The matrices by the layers' paths, of a floating-point dtype. They are disposed with this object, and leave any dispose scope.</param>
    /// <exception cref="ArgumentException">The method needs no data, or a matrix has the wrong shape, another dtype, or values that are not finite. Nothing was taken over.</exception>
    public InitializationData(LoraInitialization method, IReadOnlyDictionary<string, Tensor> matrices)
    {
        ArgumentNullException.ThrowIfNull(method);
        ArgumentNullException.ThrowIfNull(matrices);
        bool isSquare = method == LoraInitialization.Eva || method == LoraInitialization.Corda;
        if (!isSquare && method != LoraInitialization.LoraGa)
        {
            throw new ArgumentException($"The initialization {method} needs no data.", nameof(method));
        }

        foreach ((string path, Tensor matrix) in matrices)
        {
            Check(method, path, matrix, isSquare);
        }

        Method = method;
        this.matrices = new(matrices, StringComparer.Ordinal);
        foreach (Tensor matrix in matrices.Values)
        {
            matrix.DetachFromDisposeScope();
        }
    }

    /// <summary>The initialization that the data are for.</summary>
    public LoraInitialization Method { get; }

    /// <summary>The paths of the layers that there are data of.</summary>
    public IReadOnlyCollection<string> Paths => matrices.Keys;

    /// <summary>The matrix of a layer; it stays this object's.</summary>
    /// <param name="path">The layer's path.</param>
    /// <exception cref="KeyNotFoundException">There are no data of this layer.</exception>
    public Tensor this[string path] => matrices.TryGetValue(path, out Tensor? matrix)
        ? matrix
        : throw new KeyNotFoundException($"There are no data of the layer '{path}' for the initialization {Method}; there are of: {string.Join(", ", matrices.Keys)}.");

    /// <summary>Frees the matrices.</summary>
    public void Dispose()
    {
        foreach (Tensor matrix in matrices.Values)
        {
            matrix.Dispose();
        }

        matrices.Clear();
    }

    private static void Check(LoraInitialization method, string path, Tensor matrix, bool isSquare)
    {
        bool hasShape = isSquare ? matrix.dim() == 2 && matrix.shape[0] == matrix.shape[1] : matrix.dim() >= 2;
        if (!hasShape || !matrix.is_floating_point())
        {
            throw new ArgumentException(
                $"The data of '{path}' are a {matrix.dtype} tensor [{string.Join(", ", matrix.shape)}]; {method} needs a floating-point {(isSquare ? "square matrix" : "gradient of a weight")}.", nameof(matrix));
        }

        if (!Finite.All(matrix))
        {
            throw new ArgumentException($"The data of '{path}' have NaN or infinite values: look at what the layer gets or at the loss.", nameof(matrix));
        }
    }
}
