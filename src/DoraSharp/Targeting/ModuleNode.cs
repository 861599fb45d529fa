using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A module in its model.</summary>
/// <param name="Path">Its first path, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Name">The last part of the path.</param>
/// <param name="Module">The module.</param>
/// <param name="Owner">The module that holds it; the root for those at the top.</param>
/// <param name="Parent">The owner's node; <see langword="null"/> where the owner is the root.</param>
internal sealed record ModuleNode(string Path, string Name, nn.Module Module, nn.Module Owner, ModuleNode? Parent)
{
    /// <summary>Further paths under which the same module is found.</summary>
    public List<string> Aliases { get; } = [];

    /// <summary>The modules above, nearest first, ending with the root.</summary>
    public IEnumerable<(string Path, nn.Module Module)> Ancestors()
    {
        for (ModuleNode? node = this; node is not null; node = node.Parent)
        {
            yield return (node.Parent?.Path ?? "", node.Owner);
        }
    }

    /// <summary>Those of the modules above that lie above every path on which this module can be reached.</summary>
    public IEnumerable<(string Path, nn.Module Module)> CommonAncestors()
    {
        List<string> aliases = [];
        for (ModuleNode? node = this; node is not null; node = node.Parent)
        {
            aliases.AddRange(node.Aliases);
            string path = node.Parent?.Path ?? "";
            if (aliases.TrueForAll(alias => path.Length == 0 || alias.StartsWith(path + ".", StringComparison.Ordinal)))
            {
                yield return (path, node.Owner);
            }
        }
    }
}
