using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Adds up the gradients of some of a model's weights; disposing it restores which parameters train, and their gradients.</summary>
internal sealed class WeightGradients : IDisposable
{
    private readonly List<(Parameter Parameter, bool Trains)> flags = [];
    private readonly Dictionary<string, Parameter> weights = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Tensor?> before = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Tensor> sums = new(StringComparer.Ordinal);
    private long count;

    /// <exception cref="ArgumentException">A layer has no weight that gradients can flow to.</exception>
    public WeightGradients(nn.Module model, IReadOnlyDictionary<string, nn.Module> layers)
    {
        foreach ((string path, nn.Module module) in layers)
        {
            weights.Add(path, module.get_parameter("weight") is { } weight && weight.dim() >= 2 && weight.is_floating_point()
                ? weight
                : throw new ArgumentException($"The module '{path}' ({module.GetType().Name}) has no floating-point parameter 'weight' of two dimensions or more.", nameof(layers)));
        }

        foreach (Parameter parameter in model.parameters())
        {
            flags.Add((parameter, parameter.requires_grad));
            parameter.requires_grad = false;
        }

        foreach ((string path, Parameter weight) in weights)
        {
            before.Add(path, weight.grad?.DetachFromDisposeScope());
            weight.grad = null;
            weight.requires_grad = true;
        }
    }

    /// <summary>Adds the gradients of a batch's loss.</summary>
    /// <exception cref="ArgumentException">The loss has several elements or depends on none of the weights.</exception>
    public void Add(Tensor loss)
    {
        if (loss.numel() != 1 || !loss.requires_grad)
        {
            throw new ArgumentException($"The loss must have one element and depend on the layers' weights; it is a {loss.dtype} tensor [{string.Join(", ", loss.shape)}] {(loss.requires_grad ? "with" : "without")} a gradient.", nameof(loss));
        }

        loss.backward();
        foreach ((string path, Parameter weight) in weights)
        {
            using Tensor? gradient = weight.grad;
            weight.grad = null;
            if (gradient is null)
            {
                continue;
            }

            using var noGrad = no_grad();
            if (sums.TryGetValue(path, out Tensor? sum))
            {
                sum.add_(gradient);
            }
            else
            {
                // Half precision would lose what is added to a sum of many batches.
                sums.Add(path, gradient.to(gradient.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32, copy: true).DetachFromDisposeScope());
            }
        }

        count++;
    }

    /// <summary>The gradients' means, by path; the caller disposes them.</summary>
    /// <exception cref="InvalidOperationException">A weight got no gradient.</exception>
    public Dictionary<string, Tensor> Means()
    {
        string[] unseen = [.. weights.Keys.Where(path => !sums.ContainsKey(path))];
        return unseen.Length == 0
            ? sums.ToDictionary(entry => entry.Key, entry => entry.Value.div(count), StringComparer.Ordinal)
            : throw new InvalidOperationException($"The loss does not depend on {string.Join(", ", unseen)}: these layers' weights got no gradient. Leave them out, or give data that reach them.");
    }

    public void Dispose()
    {
        foreach ((string path, Parameter weight) in weights)
        {
            weight.grad = before[path];
            before[path]?.Dispose();
        }

        foreach ((Parameter parameter, bool trains) in flags)
        {
            parameter.requires_grad = trains;
        }

        foreach (Tensor sum in sums.Values)
        {
            sum.Dispose();
        }
    }
}
