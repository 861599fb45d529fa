using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A child without tensors that notes when its parent, a layer of TorchSharp's, is asked for its state (<see cref="StateRequests"/>).</summary>
internal sealed class StateWatch : nn.Module
{
    private const string Name = "state_watch";

    private StateWatch()
        : base(Name)
    {
    }

    /// <summary>Watches a module until the scope is disposed. Its state dict stays as it is.</summary>
    public static IDisposable Over(nn.Module module)
    {
        OrderedDict<string, nn.Module> children = ModuleInternals.Children(module);
        string name = Name;
        for (int i = 1; children.ContainsKey(name); i++)
        {
            name = $"{Name}{i}";
        }

        StateWatch watch = new();
        children.Add(name, watch);
        return new Scope(() =>
        {
            children.Remove(name);
            watch.Dispose();
        });
    }

    /// <inheritdoc/>
    public override IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
    {
        StateRequests.Note();
        return [];
    }
}
