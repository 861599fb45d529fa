using static TorchSharp.torch;

namespace DoraSharp.Tests;

/// <summary>The definitions in float64, dense and naive, with autograd: what the layers are compared with.</summary>
internal static class Reference
{
    /// <summary>W + s·B·A, or g ⊙ of it with the norm of the frozen W's update detached, folded in the order given.</summary>
    public static Tensor EffectiveWeight(Tensor weight, params IReadOnlyList<ReferenceAdapter> adapters)
    {
        Tensor v = weight;
        foreach (ReferenceAdapter adapter in adapters)
        {
            Tensor update = adapter.Scaling * adapter.B.matmul(adapter.A);
            v = v + update;
            if (adapter.Magnitude is not null)
            {
                Tensor norm = linalg.vector_norm(weight + update, ord: 2, dims: [1]).detach();
                v = (adapter.Magnitude / norm).unsqueeze(1) * v;
            }
        }

        return v;
    }

    /// <summary>‖actual − expected‖ / ‖expected‖ in float64.</summary>
    public static double RelativeError(Tensor actual, Tensor expected)
    {
        using var scope = NewDisposeScope();
        Tensor a = actual.detach().to(ScalarType.Float64);
        Tensor e = expected.detach().to(ScalarType.Float64);
        a.shape.Should().Equal(e.shape);
        double norm = e.norm().item<double>();
        double difference = (a - e).norm().item<double>();
        return norm == 0 ? difference : difference / norm;
    }

    /// <summary>The largest |actual − expected| over the largest |expected|.</summary>
    public static double MaxRelativeError(Tensor actual, Tensor expected)
    {
        using var scope = NewDisposeScope();
        Tensor e = expected.detach().to(ScalarType.Float64);
        double difference = (actual.detach().to(ScalarType.Float64) - e).abs().max().item<double>();
        return difference / Math.Max(e.abs().max().item<double>(), double.Epsilon);
    }

    /// <summary>Whether two tensors have the same shape, dtype and bits.</summary>
    public static bool SameBits(Tensor a, Tensor b) =>
        a.dtype == b.dtype && a.shape.SequenceEqual(b.shape) && a.detach().cpu().bytes.SequenceEqual(b.detach().cpu().bytes);

    /// <summary>Gives an adapter values as training would: B filled, the magnitude moved by up to 20 %.</summary>
    public static void Disturb(AdapterStack stack, int seed = 7)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Generator generator = new((ulong)seed);
        foreach (string name in stack.Names)
        {
            LoraAdapter adapter = (LoraAdapter)stack[name];
            adapter.B.copy_(randn(adapter.B.shape, dtype: ScalarType.Float64, generator: generator) * 0.1);
            if (adapter.Magnitude is { } magnitude)
            {
                magnitude.mul_(1 + (0.4 * (rand(magnitude.shape, dtype: ScalarType.Float64, generator: generator) - 0.5)).to(magnitude.dtype).to(magnitude.device));
            }
        }
    }

    /// <summary>Float64 copies of an adapter's parameters that gather gradients of their own.</summary>
    public static ReferenceAdapter Copy(Adapter adapter)
    {
        LoraAdapter lora = (LoraAdapter)adapter;
        return new(Leaf(lora.A), Leaf(lora.B), lora.Magnitude is { } m ? Leaf(m) : null, lora.Scaling);
    }

    /// <summary>A float64 leaf with the values of a tensor.</summary>
    public static Tensor Leaf(Tensor tensor) => tensor.detach().to(ScalarType.Float64).clone().requires_grad_(true);
}

/// <summary>An adapter's parameters in float64.</summary>
internal sealed record ReferenceAdapter(Tensor A, Tensor B, Tensor? Magnitude, double Scaling);
