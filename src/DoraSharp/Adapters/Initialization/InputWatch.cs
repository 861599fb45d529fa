using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Hooks layers and gathers a statistic of what each of them gets; disposing it takes the hooks off.</summary>
internal sealed class InputWatch : IDisposable
{
    private readonly Dictionary<string, InputStatistics> statistics = new(StringComparer.Ordinal);
    private readonly HashSet<string> seen = new(StringComparer.Ordinal);
    private readonly List<Action> removers = [];

    /// <exception cref="ArgumentException">A layer does not go from one tensor to one.</exception>
    public InputWatch(IReadOnlyDictionary<string, nn.Module> layers, Func<InputStatistics> gather)
    {
        foreach ((string path, nn.Module module) in layers)
        {
            if (module is not nn.Module<Tensor, Tensor>)
            {
                throw new ArgumentException($"The module '{path}' is a {module.GetType().Name}, which does not map one tensor to one; its inputs cannot be watched.", nameof(layers));
            }
        }

        foreach ((string path, nn.Module module) in layers)
        {
            statistics.Add(path, gather());
            var hook = ((nn.Module<Tensor, Tensor>)module).register_forward_pre_hook((_, x) => Add(path, x));
            removers.Add(hook.remove);
        }
    }

    /// <summary>Which positions count in the following calls: bool, the inputs' shape without their last dimension.</summary>
    public Tensor? Kept { get; set; }

    /// <summary>What was gathered, by path; the caller disposes it.</summary>
    /// <exception cref="InvalidOperationException">A layer was never called, or got no input that counts.</exception>
    public Dictionary<string, Tensor> Results()
    {
        string[] unseen = [.. statistics.Keys.Where(path => !seen.Contains(path))];
        if (unseen.Length > 0)
        {
            throw new InvalidOperationException(
                $"No batch reached {string.Join(", ", unseen)}: either the model does not use them on these data, or it invokes them by forward(...), " +
                "which runs no hooks. Invoke them by call(...), or leave them out.");
        }

        return statistics.ToDictionary(
            entry => entry.Key,
            entry => entry.Value.Result() ?? throw new InvalidOperationException($"'{entry.Key}' got no input that counts: the batches are empty, or their masks leave nothing."),
            StringComparer.Ordinal);
    }

    public void Dispose()
    {
        removers.ForEach(remove => remove());
        foreach (InputStatistics statistic in statistics.Values)
        {
            statistic.Dispose();
        }
    }

    // A hook that returns a tensor would replace the input.
    private Tensor Add(string path, Tensor x)
    {
        using var scope = NewDisposeScope();
        seen.Add(path);
        long rows = x.shape[^1] == 0 ? 0 : x.numel() / x.shape[^1];
        if (Kept is not null && Kept.numel() != rows)
        {
            throw new InvalidOperationException(
                $"The mask [{string.Join(", ", Kept.shape)}] does not fit the input [{string.Join(", ", x.shape)}] of '{path}': it needs a value per position.");
        }

        statistics[path].Add(x, Kept?.to(ScalarType.Bool).flatten());
        return null!;
    }
}
