using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>
/// DoRA with dropout as its definition has it, in float64: y = g ⊙ (W x + s·B A x̃), or in PEFT's placement
/// y = W x + (g − 1) ⊙ W x̃ + g ⊙ s·B A x̃, with x̃ = drop(x) and g = m/n, n a constant.
/// </summary>
internal static class DropoutReference
{
    /// <summary>y and the gradients of x, A, B and m, with the mask that libtorch draws first after it was seeded.</summary>
    public static IReadOnlyList<Tensor> Results(Problem problem, int seed, bool isPeftPlacement)
    {
        Seed(seed);
        Tensor mask = nn.functional.dropout(ones_like(problem.Input, dtype: ScalarType.Float32), problem.Scenario.Dropout, training: true).to(ScalarType.Float64);
        Tensor weight = problem.Weight.to(ScalarType.Float64);
        Tensor x = Leaf(problem.Input), a = Leaf(problem.A), b = Leaf(problem.B), magnitude = Leaf(problem.Magnitude);
        Tensor updated = weight + (problem.Scaling * b.detach().matmul(a.detach()));
        Tensor gain = magnitude / linalg.vector_norm(updated, ord: 2, dims: [1]);
        Tensor dropped = x * mask;
        Tensor product = x.matmul(weight.t());
        Tensor update = problem.Scaling * dropped.matmul(a.t()).matmul(b.t());
        Tensor y = isPeftPlacement
            ? product + ((gain - 1) * dropped.matmul(weight.t())) + (gain * update)
            : gain * (product + update);
        y.backward([problem.OutputGradient.to(ScalarType.Float64)]);
        return [y.detach(), .. new[] { x, a, b, magnitude }.Select(leaf => leaf.grad!)];
    }

    /// <summary>Seeds the generators of all devices: <c>manual_seed</c> is about the CPU's alone.</summary>
    public static void Seed(int seed)
    {
        manual_seed(seed);
        if (cuda.is_available())
        {
            cuda.manual_seed_all(seed);
        }
    }

    private static Tensor Leaf(Tensor value) => value.detach().to(ScalarType.Float64).requires_grad_(true);
}
