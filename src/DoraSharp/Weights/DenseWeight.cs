using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A weight that is stored as a parameter of a module, read from it at every use so that <c>model.to(...)</c> is followed.</summary>
/// <param name="module">The module that the parameters are registered in.</param>
/// <param name="layout">How the stored weight relates to the matrix.</param>
/// <param name="weightName">The weight's name in the module.</param>
/// <param name="biasName">The bias's name; there may be none.</param>
internal sealed class DenseWeight(nn.Module module, WeightLayout layout, string weightName = "weight", string biasName = "bias") : FrozenWeight
{
    public DenseWeight(Linear layer)
        : this(layer, WeightLayout.RowMajor)
    {
    }

    /// <summary>The registered parameter: the field that the layer's forward reads may hold a substitute for a while.</summary>
    public override Parameter Stored => module.get_parameter(weightName) ??
        throw new InvalidOperationException($"The {module.GetType().Name} has no parameter '{weightName}' any more.");

    public override string Name => weightName;

    public override long[] Shape => Stored.shape;

    public override long Outputs => layout.MatrixShape(Stored.shape).Outputs;

    public override long Inputs => layout.MatrixShape(Stored.shape).Inputs;

    public override ScalarType DType => Stored.dtype;

    public override Device Device => Stored.device;

    public override Parameter? Bias => module.get_parameter(biasName);

    public override string? WhyNotMergeable => layout.WhyNotMergeable;

    public override Tensor Product(Tensor x) =>
        layout == WeightLayout.RowMajor && Stored is { } weight && weight.dim() == 2 ? nn.functional.linear(x, weight) : x.matmul(Dense().t());

    public override Tensor Rows(long first, long count, ScalarType dtype)
    {
        using Tensor matrix = Dense();
        using Tensor rows = matrix.narrow(0, first, count);
        return rows.to(dtype);
    }

    public override Tensor Rows(Tensor indices, ScalarType dtype)
    {
        using Tensor matrix = Dense();
        using Tensor rows = matrix.index_select(0, indices);
        return rows.to(dtype);
    }

    public override Tensor Project(Tensor a)
    {
        using var noGrad = no_grad();
        if (a.dtype != DType)
        {
            return base.Project(a);
        }

        using Tensor matrix = Dense();
        return FloatMemory.Serves(matrix) && FloatMemory.Serves(a) ? ProjectionKernel.Product(matrix, a) : nn.functional.linear(matrix, a);
    }

    public override Tensor Dense() => layout.ToMatrix(Stored);

    public override Tensor ToMatrix(Tensor stored) => layout.ToMatrix(stored);

    public override Tensor FromMatrix(Tensor matrix) => layout.FromMatrix(matrix, Stored.shape);

    public override WeightReplacement Replace(Tensor matrix, Tensor? bias, bool requantize) => new OverwrittenWeight(this, FromMatrix(matrix), bias);

    // The stack of a bare parameter is a child of the parameter's module, which asks it too.
    public override IDisposable? WatchState() => biasName.Length > 0 ? StateWatch.Over(module) : null;

    /// <summary>Overwrites W, bit for bit, with a tensor in the layer's own layout and dtype. The tensor object stays the same.</summary>
    public void Overwrite(Tensor stored)
    {
        using var noGrad = no_grad();
        Stored.copy_(stored);
        Invalidate();
    }
}
