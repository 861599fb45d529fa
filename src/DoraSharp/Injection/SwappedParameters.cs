using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Parameters of the model itself that train with an adapter: biases, and modules that are saved whole. Each adapter has
/// its own values; those of the active one are put into the model's parameters, the base's when none is active.
/// </summary>
/// <remarks>
/// The model's tensors stay the same objects: only the memory behind them changes, so that an optimizer, a native module
/// and whoever else holds them follow.
/// </remarks>
internal sealed class SwappedParameters : IDisposable
{
    private readonly List<Entry> entries = [];

    /// <summary>Gives an adapter its own values of some parameters, which start as the base's. They are not active.</summary>
    /// <param name="adapterName">The adapter.</param>
    /// <param name="parameters">The parameters: the module that each is registered in, its name there, its name in files.</param>
    public void Add(string adapterName, IEnumerable<(nn.Module Owner, string Name, string FileName)> parameters)
    {
        foreach ((nn.Module owner, string name, string fileName) in parameters)
        {
            Entry? entry = entries.Find(e => ReferenceEquals(e.Owner, owner) && e.Name == name);
            if (entry is null)
            {
                entry = new Entry(owner, name);
                entries.Add(entry);
            }

            entry.Add(adapterName, fileName);
        }
    }

    /// <summary>Puts the values of the first of these adapters that has its own into each parameter, else the base's.</summary>
    public void Activate(IReadOnlyList<string> adapterNames)
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

    /// <summary>The parameters that train now.</summary>
    public IEnumerable<Parameter> Training() => entries.Where(entry => entry.IsShown).Select(entry => entry.Live);

    /// <summary>Makes the values that are shown the base's own: after merging.</summary>
    public void Keep() => entries.ForEach(entry => entry.Keep());

    /// <summary>Puts the base's values back.</summary>
    public void Dispose()
    {
        entries.ForEach(entry => entry.Dispose());
        entries.Clear();
    }

    private sealed class Entry : IDisposable
    {
        private readonly Dictionary<string, (string FileName, Tensor Values)> adapters = new(StringComparer.Ordinal);
        private Tensor? baseValues;
        private string? shown;

        public Entry(nn.Module owner, string name)
        {
            Owner = owner;
            Name = name;
        }

        public nn.Module Owner { get; }

        public string Name { get; }

        public Parameter Live => Owner.get_parameter(Name) ?? throw new InvalidOperationException($"The {Owner.GetType().Name} has no parameter '{Name}' any more.");

        public bool IsShown => shown is not null;

        public bool IsUnused => adapters.Count == 0;

        public bool Has(string adapterName) => adapters.ContainsKey(adapterName);

        public bool IsNamed(string fileName) => adapters.Values.Any(entry => entry.FileName == fileName);

        public string FileNameOf(string adapterName) => adapters[adapterName].FileName;

        public Tensor ValuesOf(string adapterName) => shown == adapterName ? Live : adapters[adapterName].Values;

        public void Add(string adapterName, string fileName)
        {
            using var noGrad = no_grad();
            Tensor start = shown is null ? Live : baseValues!;
            adapters.Add(adapterName, (fileName, start.detach().clone().DetachFromDisposeScope()));
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

            using var noGrad = no_grad();
            Parameter live = Live;
            Store(live);
            Tensor values = adapterName is null ? baseValues! : adapters[adapterName].Values;
            using Tensor here = values.to(live.dtype, live.device);
            using Tensor memory = here.alias();
            live.set_(memory);
            live.grad?.zero_();
            live.requires_grad = adapterName is not null;
            shown = adapterName;
            if (adapterName is null)
            {
                baseValues!.Dispose();
                baseValues = null;
            }
        }

        public void Keep()
        {
            if (shown is not null)
            {
                baseValues!.Dispose();
                baseValues = Live.detach().clone().DetachFromDisposeScope();
            }
        }

        public void Dispose()
        {
            if (Owner.get_parameter(Name) is { IsInvalid: false })
            {
                Show(null);
            }

            foreach ((_, Tensor values) in adapters.Values)
            {
                values.Dispose();
            }

            adapters.Clear();
            baseValues?.Dispose();
            baseValues = null;
        }

        /// <summary>Keeps what the parameter holds now under the name of what is shown.</summary>
        private void Store(Parameter live)
        {
            Tensor current = live.detach().DetachFromDisposeScope();
            if (shown is null)
            {
                baseValues = current;
                return;
            }

            (string fileName, Tensor before) = adapters[shown];
            adapters[shown] = (fileName, current);
            before.Dispose();
        }
    }
}
