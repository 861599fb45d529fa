using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A model's modules in PyTorch's order: depth first, a parent before its children, each module once.</summary>
internal sealed class ModuleTree
{
    private readonly Dictionary<nn.Module, ModuleNode> byModule = new(ReferenceEqualityComparer.Instance);

    private readonly Lazy<HashSet<Tensor>> shared;

    private ModuleTree(nn.Module root) => shared = new(() => TensorsOfSeveral([root, .. Nodes.Select(static node => node.Module)]));

    /// <summary>The modules, without the root, under their first names.</summary>
    public List<ModuleNode> Nodes { get; } = [];

    /// <summary>Walks a model. Where a layer is adapted already, the tree has the layer itself and not what was put around or beside it.</summary>
    public static ModuleTree Of(nn.Module root)
    {
        ModuleTree tree = new(root);
        tree.Walk(root, null);
        return tree;
    }

    /// <summary>Whether another module holds tensor objects of a module's own, which then have to outlive it.</summary>
    public bool SharesTensors(ModuleNode node) => OwnTensors(node.Module).Any(shared.Value.Contains);

    private static IEnumerable<Tensor> OwnTensors(nn.Module module) => module.named_parameters(recurse: false).Select(static entry => entry.parameter);

    private static HashSet<Tensor> TensorsOfSeveral(IEnumerable<nn.Module> modules)
    {
        HashSet<Tensor> seen = new(ReferenceEqualityComparer.Instance);
        return new(modules.SelectMany(module => OwnTensors(module).Where(tensor => !seen.Add(tensor)).ToList()), ReferenceEqualityComparer.Instance);
    }

    private void Walk(nn.Module module, ModuleNode? parent)
    {
        foreach ((string name, nn.Module registered) in module.named_children())
        {
            if (registered is AdapterStack or StateWatch)
            {
                continue;
            }

            nn.Module child = registered is IAdaptedModule adapted ? adapted.BaseModule : registered;
            string path = parent is null ? name : $"{parent.Path}.{name}";
            if (byModule.TryGetValue(child, out ModuleNode? known))
            {
                known.Aliases.Add(path);
                continue;
            }

            ModuleNode node = new(path, name, child, module, parent);
            byModule.Add(child, node);
            Nodes.Add(node);
            Walk(child, node);
        }
    }
}
