using TorchSharp.Modules;

namespace DoraSharp;

/// <summary>What trains in an adapted model, by the names of an adapter's file.</summary>
internal static class TrainedParameters
{
    /// <summary>The parameters of the active adapters, in model order; each once.</summary>
    public static IEnumerable<NamedParameter> Of(AdaptedModel model)
    {
        HashSet<Parameter> seen = new(ReferenceEqualityComparer.Instance);
        foreach ((string path, AdapterStack stack) in model.Layers)
        {
            foreach (string adapter in stack.Active)
            {
                foreach ((string part, Parameter parameter) in stack[adapter].FileTensors)
                {
                    if (parameter.requires_grad && seen.Add(parameter))
                    {
                        yield return new($"{path}.{part}", parameter, parameter.shape.Length);
                    }
                }
            }
        }
    }
}
