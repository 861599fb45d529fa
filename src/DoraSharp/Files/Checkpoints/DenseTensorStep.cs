using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Gives a parameter or a buffer its value.</summary>
/// <param name="name">Its name in the model.</param>
/// <param name="owner">The module that has it.</param>
/// <param name="target">The parameter or buffer.</param>
/// <param name="source">Its name in the file.</param>
internal sealed class DenseTensorStep(string name, nn.Module owner, Tensor target, string source) : CheckpointStep(name)
{
    public override void Run(SafetensorsCheckpoint checkpoint, CheckpointOptions options, CheckpointBuffer buffer)
    {
        using Tensor stored = checkpoint.Read(source);
        if (target.is_meta)
        {
            Materialize(stored.to(target.dtype, options.Device ?? CPU));
        }
        else
        {
            target.copy_(stored);
        }
    }

    private void Materialize(Tensor value)
    {
        bool trains = target.requires_grad;
        if (owner is Embedding embedding)
        {
            // It is a native module, which keeps its parameter to itself.
            embedding.weight = (Parameter)new Parameter(value, trains).DetachFromDisposeScope();
            target.Dispose();
            return;
        }

        using (value.DetachFromDisposeScope())
        {
            // What other objects hold is this tensor object: it gets the memory.
            TensorIdentity.Exchange(target, value);
        }

        target.requires_grad = trains;
        string part = Name[(Name.LastIndexOf('.') + 1)..];
        if (owner.named_parameters(recurse: false).Any(entry => entry.name == part && entry.parameter.is_meta))
        {
            throw new NotSupportedException($"'{Name}' belongs to a {owner.GetType().Name}, a native module that keeps its parameters to itself: build it on the CPU rather than on the meta device.");
        }
    }
}
