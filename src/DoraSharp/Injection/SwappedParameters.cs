using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Parameters and buffers of the model itself that change with an adapter: biases, and modules that are saved whole. Each
/// adapter has its own values; those of the active one are put into the model, the base's when none is active.
/// </summary>
/// <remarks>
/// The model's tensor objects stay the same, so that modules and optimizers follow: what is exchanged is the native tensor
/// behind them. Its gradient, and what a forward pass keeps of it for the backward pass, stay with it.
/// </remarks>
internal sealed class SwappedParameters : IDisposable
{
    private readonly List<Entry> entries = [];

    /// <summary>Gives an adapter its own values of some parameters and buffers, which start as the base's. They are not active.</summary>
    /// <param name="adapterName">The adapter.</param>
    /// <param name="tensors">The parameters: the module that each is registered in, its name there, its name in files.</param>
    /// <param name="keepsTies">Whether parameters that are one in the base are one for the adapter too.</param>
    public void Add(string adapterName, IEnumerable<(nn.Module Owner, string Name, string FileName)> tensors, bool keepsTies)
    {
        Dictionary<nint, Tensor> made = [];
        foreach ((nn.Module owner, string name, string fileName) in tensors)
        {
            Entry? entry = entries.Find(e => ReferenceEquals(e.Owner, owner) && e.Name == name);
            if (entry is null)
            {
                entry = new Entry(owner, name);
                entries.Add(entry);
            }

            nint place = TensorMemory.Address(entry.BaseValues);
            made[place] = entry.Add(adapterName, fileName, keepsTies ? made.GetValueOrDefault(place) : null);
        }
    }

    /// <summary>Puts the values of the first of these adapters that has its own in each place, else the base's, and lets them train.</summary>
    public void Activate(IReadOnlyList<string> adapterNames)
    {
        Show(adapterNames);
        foreach (Parameter parameter in Shown())
        {
            parameter.requires_grad = true;
        }
    }

    /// <summary>The same, but for what trains, which stays as it was when these values were there last.</summary>
    public void Show(IReadOnlyList<string> adapterNames)
    {
        foreach (Entry entry in entries)
        {
            entry.Show(adapterNames.FirstOrDefault(entry.Has));
        }
    }

    /// <summary>Throws where two of the adapters have values of their own for one parameter.</summary>
    /// <exception cref="ArgumentException">Two have.</exception>
    public void RefuseConflicts(IReadOnlyList<string> adapterNames)
    {
        foreach (Entry entry in entries)
        {
            string[] having = [.. adapterNames.Where(entry.Has)];
            if (having.Length > 1)
            {
                throw new ArgumentException($"The adapters {string.Join(" and ", having)} cannot be active together: each has its own {entry.FileNameOf(having[0])}.", nameof(adapterNames));
            }
        }
    }

    /// <summary>Forgets an adapter's values.</summary>
    public void Delete(string adapterName)
    {
        entries.ForEach(entry => entry.Delete(adapterName));
        entries.RemoveAll(entry => entry.IsUnused);
    }

    /// <summary>Gives an adapter another name.</summary>
    public void Rename(string adapterName, string newName) => entries.ForEach(entry => entry.Rename(adapterName, newName));

    /// <summary>An adapter's values by their names in files.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> Of(string adapterName) =>
        entries.Where(entry => entry.Has(adapterName)).Select(entry => KeyValuePair.Create(entry.FileNameOf(adapterName), entry.ValuesOf(adapterName)));

    /// <summary>Whether a name in files is that of a normalisation layer's parameter.</summary>
    public bool IsOfNormalisation(string fileName) =>
        entries.Exists(entry => entry.Owner.GetType().Name.Contains("Norm", StringComparison.Ordinal) && entry.IsNamed(fileName));

    /// <summary>The parameters that train now, each once.</summary>
    public IEnumerable<Parameter> Training() => Shown().Where(parameter => parameter.requires_grad).DistinctBy(TensorIdentity.Of);

    /// <summary>Makes the values that are shown the base's own: after merging.</summary>
    public void Keep() => entries.ForEach(entry => entry.Keep());

    /// <summary>Puts the base's values back.</summary>
    public void Dispose()
    {
        entries.ForEach(entry => entry.Dispose());
        entries.Clear();
    }

    private IEnumerable<Parameter> Shown() => entries.Where(entry => entry.IsShown).Select(entry => entry.Live).OfType<Parameter>();

    /// <summary>A place in the model, and the values of each adapter that has its own; while one's are in the place, the base's are with that adapter.</summary>
    private sealed class Entry(nn.Module owner, string name) : IDisposable
    {
        private readonly Dictionary<string, (string FileName, Tensor Values)> adapters = new(StringComparer.Ordinal);
        private string? shown;

        public nn.Module Owner => owner;

        public string Name => name;

        public Tensor Live => Find() ?? throw new InvalidOperationException($"The {owner.GetType().Name} has no parameter '{name}' any more.");

        public Tensor BaseValues => shown is null ? Live : adapters[shown].Values;

        public bool IsShown => shown is not null;

        public bool IsUnused => adapters.Count == 0;

        public bool Has(string adapterName) => adapters.ContainsKey(adapterName);

        public bool IsNamed(string fileName) => adapters.Values.Any(entry => entry.FileName == fileName);

        public string FileNameOf(string adapterName) => adapters[adapterName].FileName;

        public Tensor ValuesOf(string adapterName) => shown == adapterName ? Live : adapters[adapterName].Values;

        public Tensor Add(string adapterName, string fileName, Tensor? tied)
        {
            // Without a conversion to do, libtorch gives another handle of the same tensor.
            Tensor values = tied?.to(tied.dtype, tied.device) ?? Copy(BaseValues, Live is Parameter);
            adapters.Add(adapterName, (fileName, values.DetachFromDisposeScope()));
            return values;
        }

        public void Delete(string adapterName)
        {
            if (shown == adapterName)
            {
                Show(null);
            }

            if (adapters.Remove(adapterName, out (string FileName, Tensor Values) removed))
            {
                removed.Values.Dispose();
            }
        }

        public void Rename(string adapterName, string newName)
        {
            if (adapters.Remove(adapterName, out (string FileName, Tensor Values) entry))
            {
                adapters.Add(newName, entry);
                shown = shown == adapterName ? newName : shown;
            }
        }

        public void Show(string? adapterName)
        {
            if (shown == adapterName)
            {
                return;
            }

            if (shown is not null)
            {
                Exchange(shown);
            }

            if (adapterName is not null)
            {
                Exchange(adapterName);
            }

            shown = adapterName;
        }

        public void Keep()
        {
            if (shown is null)
            {
                return;
            }

            if (Live is Parameter parameter)
            {
                parameter.requires_grad = false;
            }

            adapters.Remove(shown, out (string FileName, Tensor Values) before);
            before.Values.Dispose();
            shown = null;
        }

        public void Dispose()
        {
            // The model may have been disposed before.
            if (Find() is { IsInvalid: false })
            {
                Show(null);
            }

            foreach ((_, Tensor values) in adapters.Values)
            {
                values.Dispose();
            }

            adapters.Clear();
            shown = null;
        }

        private Tensor? Find() => owner.get_parameter(name) ?? owner.get_buffer(name);

        private void Exchange(string adapterName)
        {
            Tensor live = Live;
            (string fileName, Tensor values) = adapters[adapterName];
            if ((values.dtype, values.device_type, values.device_index) != (live.dtype, live.device_type, live.device_index))
            {
                // The model has moved since.
                using Tensor before = values;
                using Tensor moved = values.to(live.dtype, live.device);
                values = Copy(moved, before.requires_grad).DetachFromDisposeScope();
                adapters[adapterName] = (fileName, values);
            }

            ParameterExchange.Run(owner, live, values);
        }

        private static Tensor Copy(Tensor tensor, bool trains)
        {
            using var noGrad = no_grad();
            Tensor copy = tensor.clone();
            copy.requires_grad = trains;
            return copy;
        }
    }
}
