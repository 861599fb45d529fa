using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>DoRA written down in one dtype for the adapter: the definition in float64, PEFT's formula in others.</summary>
/// <remarks>
/// As PEFT has it without dropout: the base product in the base's dtype; an identity matrix through A and B for the dense update; W cast to
/// the adapter's dtype; result = base + (m/n − 1)·base + m/n·s·B(A x), rounded to the base's dtype. Merging: m/n·(W + s·B·A), rounded once.
/// </remarks>
internal static class DoraFormula
{
    /// <summary>Computes everything in float64, from the values as they are stored.</summary>
    public static PrecisionFigures Exact(PrecisionProblem problem, ScalarType adapterType) => Compute(problem, ScalarType.Float64, ScalarType.Float64, adapterType);

    /// <summary>Computes with the adapter in a dtype of its own.</summary>
    public static PrecisionFigures Peft(PrecisionProblem problem, ScalarType adapterType) => Compute(problem, problem.DType, adapterType, adapterType);

    private static PrecisionFigures Compute(PrecisionProblem problem, ScalarType baseType, ScalarType computed, ScalarType stored)
    {
        Tensor weight = problem.Weight.to(baseType);
        Tensor x = problem.Input.to(baseType, copy: true).requires_grad_(true);
        (Tensor a, Tensor b, Tensor m) = (Leaf(problem.A), Leaf(problem.B), Leaf(problem.Magnitude));
        Tensor dense = weight.to(computed);
        Tensor identity = eye(problem.Inputs, dtype: computed);
        Tensor update = nn.functional.linear(nn.functional.linear(identity, a), b).t().detach();
        Tensor norm = Norm(dense + (PrecisionProblem.Scaling * update));
        Tensor product = nn.functional.linear(x, weight);
        Tensor gain = m / norm;
        Tensor change = nn.functional.linear(nn.functional.linear(x.to(computed), a), b) * PrecisionProblem.Scaling;
        Tensor output = (product + ((gain - 1) * product) + (gain * change)).to(baseType);
        output.backward([problem.Gradient.to(baseType)]);

        // Merging takes the product itself, not the identity's detour.
        Tensor merging = dense + (PrecisionProblem.Scaling * b.detach().matmul(a.detach()));
        Tensor merged = ((m.detach() / Norm(merging)).unsqueeze(1) * merging).to(baseType);
        return new(output.detach(), x.grad!, a.grad!, b.grad!, m.grad!, norm, merged);

        Tensor Leaf(Tensor value) => value.to(stored).to(computed, copy: true).requires_grad_(true);
    }

    private static Tensor Norm(Tensor matrix) => linalg.vector_norm(matrix, ord: 2, dims: [1]);
}
