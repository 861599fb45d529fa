using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The weight that a module's forward reads, apart from the registration that the state dict shows.</summary>
internal static class RunningWeight
{
    /// <summary>How to let a module run on another weight until the result is disposed.</summary>
    /// <exception cref="NotSupportedException">There is no way: the module reads its weight from no field.</exception>
    public static Func<Tensor, IDisposable> Of(nn.Module module, string name)
    {
        if (module is Embedding embedding)
        {
            return weight => new EmbeddingSubstitution(embedding, weight);
        }

        RunningParameter place = RunningParameter.Of(module, name);
        return weight => new ParameterSubstitution(place, weight);
    }
}
