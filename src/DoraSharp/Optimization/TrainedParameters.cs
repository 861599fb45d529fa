using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>What trains in an adapted model, by the names of an adapter's file.</summary>
internal static class TrainedParameters
{
    /// <summary>The parameters of the active adapters, in model order; each once.</summary>
    public static IEnumerable<NamedParameter> Of(AdaptedModel model)
    {
        HashSet<Parameter> seen = new(ReferenceEqualityComparer.Instance);
        foreach (string adapter in model.ActiveAdapters)
        {
            foreach ((string name, TorchSharp.torch.Tensor tensor, long[] shape) in new AdapterTensors(model, adapter).Entries)
            {
                if (tensor is Parameter { requires_grad: true } parameter && seen.Add(parameter))
                {
                    yield return new(name, parameter, shape.Length, model.Swapped.IsOfNormalisation(name));
                }
            }
        }
    }
}
