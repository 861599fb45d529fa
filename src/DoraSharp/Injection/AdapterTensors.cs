using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>An adapter's parameters in a model, by the names that they have in a PEFT file.</summary>
internal sealed class AdapterTensors
{
    private const int Listed = 8;
    private readonly List<(string Path, string Part, Parameter Parameter)> parameters = [];

    public AdapterTensors(IReadOnlyList<InstalledLayer> layers, string adapterName)
    {
        foreach (InstalledLayer layer in layers)
        {
            foreach ((string part, Parameter parameter) in layer.Stack[adapterName].FileTensors)
            {
                parameters.Add((layer.Path, part, parameter));
            }
        }
    }

    /// <summary>The parameters as tensors of a file, in model order. They stay the model's.</summary>
    public IEnumerable<PeftTensor> ToFile() => parameters.Select(p => new PeftTensor(p.Path, p.Part, p.Parameter));

    /// <summary>
    /// Compares the ranks that a configuration asks for with the file's tensors before anything of that size is made.
    /// </summary>
    /// <exception cref="InvalidDataException">A layer's rank is above that of every tensor in the file.</exception>
    public static void RefuseRanksAboveTheFiles(IReadOnlyList<PlannedSite> sites, PeftFolder folder)
    {
        long largest = folder.Tensors.Where(tensor => tensor.Part == "lora_A.weight").Select(tensor => tensor.Value.shape[0]).DefaultIfEmpty(0).Max();
        if (sites.FirstOrDefault(site => site.Options.Rank > largest) is { } site)
        {
            throw new InvalidDataException(
                $"The configuration in '{folder.Path}' asks for rank {site.Options.Rank} at {site.Node.Path}; the largest in the file of tensors is {largest}. Nothing was loaded.");
        }
    }

    /// <summary>Copies a file's values, or throws and changes nothing.</summary>
    /// <exception cref="InvalidDataException">Tensors are missing, unexpected, misshapen or not finite; the message names them.</exception>
    public void CopyFrom(PeftFolder folder)
    {
        Dictionary<string, Tensor> given = folder.Tensors.ToDictionary(tensor => tensor.Name, tensor => tensor.Value, StringComparer.Ordinal);
        List<string> missing = [];
        List<string> misshapen = [];
        List<string> notFinite = [];
        List<(Parameter To, Tensor From)> copies = [];
        foreach ((string path, string part, Parameter parameter) in parameters)
        {
            string name = $"{path}.{part}";
            if (!given.Remove(name, out Tensor? value))
            {
                missing.Add(name);
            }
            else if (!value.shape.SequenceEqual(parameter.shape))
            {
                misshapen.Add($"{name} is [{string.Join(", ", value.shape)}], the model's is [{string.Join(", ", parameter.shape)}]");
            }
            else if (!Finite.All(value))
            {
                notFinite.Add(name);
            }
            else
            {
                copies.Add((parameter, value));
            }
        }

        string problems = Problem("missing", missing) + Problem("unexpected", [.. given.Keys]) + Problem("of another shape", misshapen) + Problem("not finite", notFinite);
        if (problems.Length > 0)
        {
            throw new InvalidDataException($"The adapter in '{folder.Path}' does not fit the model.{problems} Nothing was loaded.");
        }

        using var noGrad = no_grad();
        foreach ((Parameter to, Tensor from) in copies)
        {
            to.copy_(from);
        }
    }

    private static string Problem(string kind, List<string> names) => names.Count == 0
        ? ""
        : $" {names.Count} tensors are {kind}: {string.Join("; ", names.Take(Listed))}{(names.Count > Listed ? "; ..." : "")}.";
}
