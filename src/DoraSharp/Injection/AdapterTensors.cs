using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>An adapter's tensors in a model, by the names that they have in a PEFT file.</summary>
internal sealed class AdapterTensors
{
    private const int Listed = 8;
    private const string BaseWeight = ".base_layer.weight";
    private readonly Dictionary<string, (Tensor Tensor, long[] Shape)> tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Tensor> baseWeights = new(StringComparer.Ordinal);

    private readonly IReadOnlyList<string> keptBaseWeights;

    public AdapterTensors(AdaptedModel model, string adapterName)
    {
        keptBaseWeights = model.ReportOf(adapterName).File?.BaseWeights ?? [];
        foreach (InstalledLayer layer in model.InstalledLayers)
        {
            if (layer.Stack.Find(adapterName) is not { } adapter)
            {
                continue;
            }

            baseWeights[layer.DiskPath + BaseWeight] = layer.Stack.BaseWeight;
            foreach (FileTensor tensor in adapter.FileTensors)
            {
                tensors.Add($"{layer.DiskPath}.{tensor.Part}", (tensor.Value, tensor.Shape));
            }
        }

        foreach ((string name, Tensor values) in model.Swapped.Of(adapterName))
        {
            tensors.Add(name, (model.InstalledLayers.Select(layer => Unmerged(layer.Stack, values)).FirstOrDefault(tensor => tensor is not null) ?? values, values.shape));
        }

        if (model.ProjectionsOf(adapterName) is { } projections && ((VeraOptions)model.OptionsOf(adapterName)).SaveProjection)
        {
            tensors.Add(VeraProjections.NameOfA, (projections.A, projections.A.shape));
            tensors.Add(VeraProjections.NameOfB, (projections.B, projections.B.shape));
        }
    }

    /// <summary>The tensors by their names, with their shapes in a file.</summary>
    public IEnumerable<(string Name, Tensor Tensor, long[] Shape)> Entries => tensors.Select(static entry => (entry.Key, entry.Value.Tensor, entry.Value.Shape));

    /// <summary>The tensors of a file, in model order. Those whose shape differs in files are new handles.</summary>
    public IEnumerable<PeftTensor> ToFile()
    {
        using var noGrad = no_grad();
        return
        [
            .. tensors.Select(static entry => InFile(entry.Key, entry.Value.Tensor, entry.Value.Shape)),
            .. baseWeights.Where(entry => keptBaseWeights.Contains(entry.Key)).Select(static entry => InFile(entry.Key, entry.Value, entry.Value.shape)),
        ];
    }

    /// <summary>Copies a file's values, or throws and changes nothing.</summary>
    /// <param name="folder">The file.</param>
    /// <param name="allowMismatched">Accept tensors that are missing or that the model has no place for.</param>
    /// <returns>What went where.</returns>
    /// <exception cref="InvalidDataException">Tensors are missing, unexpected or misshapen; the message names them.</exception>
    public LoadedTensors CopyFrom(PeftFolder folder, bool allowMismatched = false)
    {
        Dictionary<string, Tensor> given = folder.Tensors.ToDictionary(tensor => tensor.Name, tensor => tensor.Value, StringComparer.Ordinal);
        List<string> missing = [];
        List<string> misshapen = [];
        List<string> warnings = [.. folder.Warnings];
        List<(string Name, Tensor To, Tensor From)> copies = [];
        foreach ((string name, (Tensor tensor, long[] shape)) in tensors)
        {
            if (!given.Remove(name, out Tensor? value))
            {
                missing.Add(name);
            }
            else if (!value.shape.SequenceEqual(shape))
            {
                misshapen.Add($"{name} is [{string.Join(", ", value.shape)}], the model's is [{string.Join(", ", shape)}]");
            }
            else
            {
                copies.Add((name, tensor, value));
            }
        }

        string[] kept = [.. baseWeights.Keys.Where(given.ContainsKey)];
        warnings.AddRange(AboutBaseWeights(given));
        string problems = allowMismatched ? "" : Problem("missing", missing) + Problem("unexpected", [.. given.Keys]);
        problems += Problem("of another shape", misshapen);
        if (problems.Length > 0)
        {
            throw new InvalidDataException($"The adapter in '{folder.Path}' does not fit the model.{problems} Nothing was loaded.");
        }

        using var noGrad = no_grad();
        foreach ((string name, Tensor to, Tensor from) in copies)
        {
            using Tensor matrix = from.reshape(to.shape);
            to.copy_(matrix);
            if (!Finite.All(from))
            {
                warnings.Add($"'{name}' has values that are not finite.");
            }
        }

        return new([.. copies.Select(copy => copy.Name)], missing, [.. given.Keys], warnings) { BaseWeights = kept };
    }

    // A merge may have folded adapters into what trains besides them.
    private static Tensor? Unmerged(AdapterStack stack, Tensor values) =>
        ReferenceEquals(stack.Weight.Bias, values) ? stack.BaseBias : ReferenceEquals(stack.Weight.Stored, values) ? stack.BaseWeight : null;

    private static PeftTensor InFile(string name, Tensor tensor, long[] shape)
    {
        (string path, string part) = PeftTensor.Split(name);
        return new PeftTensor(path, part, tensor.shape.SequenceEqual(shape) ? tensor : tensor.reshape(shape));
    }

    // PEFT saves the weight of an adapted embedding or head as well when its name is a common one.
    private IEnumerable<string> AboutBaseWeights(Dictionary<string, Tensor> given)
    {
        foreach ((string name, Tensor weight) in baseWeights)
        {
            if (given.Remove(name, out Tensor? value))
            {
                using Tensor here = weight.detach();
                using Tensor there = value.to(here.dtype, here.device);
                if (!value.shape.SequenceEqual(here.shape) || !here.allclose(there, 0, 0))
                {
                    yield return $"'{name}' differs from the model's own weight, which was kept.";
                }
            }
        }
    }

    private static string Problem(string kind, List<string> names) => names.Count == 0
        ? ""
        : $" {names.Count} tensors are {kind}: {string.Join("; ", names.Take(Listed))}{(names.Count > Listed ? "; ..." : "")}.";
}
