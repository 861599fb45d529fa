using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Gradient checkpointing of modules inside a model, such as the layers of a transformer: each of their calls becomes a <see cref="Checkpoint"/>.
/// The model itself stays as it is: modules, names, state dict. Adapters may be injected before or afterwards.
/// </summary>
/// <remarks>
/// Equivalent of transformers' <c>gradient_checkpointing_enable</c>; no <c>enable_input_require_grads</c> is needed. It acts on modules that the model
/// invokes by <c>call</c>; <c>forward</c> runs no hooks, so a model that invokes them so must write <c>Checkpoint.Run(layer, input)</c> instead: a
/// probe shows which is the case.
/// </remarks>
public sealed class GradientCheckpointing : IDisposable
{
    private readonly List<CheckpointHooks> hooks = [];

    private GradientCheckpointing()
    {
    }

    /// <summary>The paths of the modules whose calls are checkpoints, in model order.</summary>
    public IReadOnlyList<string> Modules => [.. hooks.Select(hook => hook.Path)];

    /// <summary>Switches checkpointing on.</summary>
    /// <param name="model">The model.</param>
    /// <param name="modules">Which modules, by the rules of <see cref="TargetModules"/>: <c>@"model\.layers\.\d+"</c>, or a list of names.</param>
    /// <param name="probe">A forward pass on a sample, <c>() =&gt; model.call(sample)</c>, by which it is made sure that each of the modules is reached by <c>call</c>; it runs in grad mode.</param>
    /// <returns>The handle; disposing it switches checkpointing off again. Backward passes that are still to come work nevertheless.</returns>
    /// <exception cref="ArgumentException">Nothing matches, or <paramref name="modules"/> names no modules of their own (all-linear, the model's default).</exception>
    /// <exception cref="NotSupportedException">A module that matches is not called as a whole, such as a list.</exception>
    /// <exception cref="InvalidOperationException">The probe did not reach a module by <c>call</c>. Nothing was changed.</exception>
    public static GradientCheckpointing Enable(nn.Module model, TargetModules modules, Func<Tensor>? probe = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(modules);
        if (modules.IsAllLinear || modules.IsModelDefault || modules.IsNone)
        {
            throw new ArgumentException("Say which modules are to be checkpoints, by names or by a regular expression for their whole path, such as @\"model\\.layers\\.\\d+\".", nameof(modules));
        }

        ModuleSelector selector = new(new LoraOptions { TargetModules = modules }, exactPaths: null);
        ModuleNode[] selected = [.. ModuleTree.Of(model).Nodes.Where(node => selector.Select(node.Path) == Selection.Matched)];
        if (selected.Length == 0)
        {
            throw new ArgumentException(
                $"No module's path matches {modules}. Among the model's modules are: {string.Join(", ", ModuleTree.Of(model).Nodes.Take(8).Select(node => node.Path))}.", nameof(modules));
        }

        GradientCheckpointing checkpointing = new();
        try
        {
            foreach (ModuleNode node in selected)
            {
                checkpointing.hooks.Add(CheckpointHooks.On(node.Module, node.Path));
            }

            checkpointing.CheckReach(probe);
            return checkpointing;
        }
        catch
        {
            checkpointing.Dispose();
            throw;
        }
    }

    /// <summary>Switches checkpointing off.</summary>
    public void Dispose()
    {
        hooks.ForEach(hook => hook.Dispose());
        hooks.Clear();
    }

    private void CheckReach(Func<Tensor>? probe)
    {
        if (probe is null)
        {
            return;
        }

        using var scope = NewDisposeScope();
        using (enable_grad())
        {
            _ = probe();
        }

        if (hooks.Find(hook => hook.Uses == 0) is { } missed)
        {
            throw new InvalidOperationException(
                $"The probe did not reach {missed.Path} by call(...): the model invokes it by forward(...), which runs no hooks, or not at all. Invoke it by call(...), or " +
                $"write {nameof(Checkpoint)}.{nameof(Checkpoint.Run)}(layer, input) in the model's forward. Nothing was changed.");
        }
    }
}
