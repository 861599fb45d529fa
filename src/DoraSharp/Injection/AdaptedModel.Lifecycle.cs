namespace DoraSharp;

/// <content>Several adapters: adding, activating, renaming, rescaling, deleting, mixing.</content>
public sealed partial class AdaptedModel
{
    /// <summary>Adds a fresh adapter, which may target other layers than the ones that are there. It is not active. PEFT: <c>add_adapter</c>.</summary>
    /// <param name="adapterName">Its name: not empty, without dots.</param>
    /// <param name="options">What to adapt, and how.</param>
    /// <returns>What was adapted.</returns>
    /// <exception cref="ArgumentException">The name is taken, or a target matches nothing. Nothing was changed.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged, or a layer has no route. Nothing was changed.</exception>
    public InjectionReport Add(string adapterName, LoraOptions options) => AddFresh(adapterName, options);

    /// <summary>Adds a fresh VeRA or DVoRA adapter. Apart from the options as <see cref="Add(string, LoraOptions)"/>.</summary>
    /// <inheritdoc cref="Add(string, LoraOptions)"/>
    public InjectionReport AddVera(string adapterName, VeraOptions options) => AddFresh(adapterName, options);

    /// <summary>Adds an adapter that was trained before, here or by PEFT. It is not active. PEFT: <c>load_adapter</c>.</summary>
    /// <param name="adapterName">The name that it gets here.</param>
    /// <param name="folder">The folder that holds its two files.</param>
    /// <returns>What was adapted.</returns>
    /// <exception cref="IOException">The folder or a file of it is missing.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or does not fit the model. Nothing was changed.</exception>
    /// <exception cref="ArgumentException">The name is taken, or a target matches nothing. Nothing was changed.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged. Nothing was changed.</exception>
    public InjectionReport LoadAdapter(string adapterName, string folder)
    {
        RefuseIfUnloaded();
        RefuseAdding(adapterName);
        using PeftFolder file = PeftFolder.Read(folder);
        AddFrom(adapterName, file);
        return ReportOf(adapterName);
    }

    /// <summary>
    /// Makes exactly these adapters active, in this order; they train, the others are frozen. A layer takes those of them
    /// that it has. PEFT: <c>set_adapter</c>.
    /// </summary>
    /// <param name="adapterNames">One or more names, or none to let the base model speak alone.</param>
    /// <exception cref="KeyNotFoundException">There is no adapter of one of the names.</exception>
    /// <exception cref="ArgumentException">A name occurs twice, or two of the adapters train the same parameter of the model.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void Activate(params IReadOnlyList<string> adapterNames)
    {
        ArgumentNullException.ThrowIfNull(adapterNames);
        RefuseIfMerged("activate adapters");
        foreach (string name in adapterNames)
        {
            _ = Find(name);
        }

        if (adapterNames.Distinct(StringComparer.Ordinal).Count() != adapterNames.Count)
        {
            throw new ArgumentException($"An adapter can be active once only; given: {string.Join(", ", adapterNames)}.", nameof(adapterNames));
        }

        swapped.RefuseConflicts(adapterNames);
        active = [.. adapterNames];
        foreach ((_, AdapterStack stack) in Layers)
        {
            stack.Activate([.. active.Where(name => stack.Find(name) is not null)]);
        }

        swapped.Activate(active);
        Settle();
    }

    /// <summary>Deletes an adapter and frees its memory. If it was the last active one, the first of those left becomes active, as in PEFT.</summary>
    /// <param name="adapterName">Its name.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged, or it is the only one: then <see cref="Unload"/>.</exception>
    public void Delete(string adapterName)
    {
        _ = Find(adapterName);
        RefuseIfMerged("delete an adapter");
        if (adapters.Count == 1)
        {
            throw new InvalidOperationException($"'{adapterName}' is the only adapter; take the adapters out by {nameof(Unload)}.");
        }

        RefuseIfMixed("delete an adapter");
        bool wasLastActive = active is [string only] && only == adapterName;
        Remove(adapterName);
        if (wasLastActive)
        {
            Activate(AdapterName);
        }
    }

    /// <summary>Gives an adapter another name. It stays active if it is.</summary>
    /// <param name="adapterName">Its name.</param>
    /// <param name="newName">The new one: not empty, without dots.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="ArgumentException">The new name is taken or not allowed.</exception>
    public void Rename(string adapterName, string newName)
    {
        RefuseIfUnloaded();
        InstalledAdapter adapter = Find(adapterName);
        RefuseIfMixed("rename an adapter");
        DoraSharp.AdapterName.Check(newName);
        if (adapters.Exists(entry => entry.Key == newName))
        {
            throw new ArgumentException($"There is an adapter '{newName}' already.", nameof(newName));
        }

        foreach ((_, AdapterStack stack) in Layers.Where(layer => layer.Value.Find(adapterName) is not null))
        {
            stack.Rename(adapterName, newName);
        }

        if (adapter.Projections is { } projections)
        {
            ModuleInternals.Children(Model).Remove(NameOf(projections)!);
            ModuleInternals.Children(Model).Add(NameOfProjections(newName), projections);
        }

        swapped.Rename(adapterName, newName);
        Replace(adapterName, adapter, newName);
        active = [.. active.Select(name => name == adapterName ? newName : name)];
    }

    /// <summary>Multiplies an adapter's original scaling α/r by a factor. A magnitude stays, so DoRA's norm changes. PEFT: <c>set_scale</c>.</summary>
    /// <param name="adapterName">Its name.</param>
    /// <param name="factor">The factor; finite.</param>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void SetScale(string adapterName, double factor)
    {
        _ = Find(adapterName);
        Rescale([adapterName], _ => factor, factor);
    }

    /// <summary>Multiplies the present scaling of the active adapters by a factor. PEFT: <c>scale_layer</c>.</summary>
    /// <param name="factor">The factor; finite.</param>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void ScaleLayers(double factor) => Rescale(active, scale => scale * factor, factor);

    /// <summary>Divides the present scaling of the active adapters by a factor, or goes back to the original scaling. PEFT: <c>unscale_layer</c>.</summary>
    /// <param name="factor">The factor; <see langword="null"/> to go back to α/r.</param>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    public void UnscaleLayers(double? factor = null) => Rescale(active, scale => factor is { } f ? scale / f : 1, factor is { } f ? 1 / f : 1);

    /// <summary>Switches the adapters off until the returned scope is disposed: the model gives the base model's output.</summary>
    /// <exception cref="InvalidOperationException">The adapters are merged.</exception>
    /// <exception cref="ObjectDisposedException">The adapters were taken out of the model.</exception>
    public IDisposable Disable()
    {
        RefuseIfMerged("switch adapters off");
        disabled++;
        Settle();
        return new Scope(() =>
        {
            disabled--;
            Settle();
        });
    }

    /// <summary>
    /// Gives each sample of the batches that follow its own adapter, until the returned scope is disposed. DoRA too; in
    /// training too. PEFT: <c>adapter_names</c> of forward.
    /// </summary>
    /// <param name="adapterNames">An adapter's name for each sample of a batch, or <c>__base__</c> for the base model.</param>
    /// <returns>The scope.</returns>
    /// <exception cref="KeyNotFoundException">There is no adapter of one of the names.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged, or one of them cannot serve single samples.</exception>
    public IDisposable ForSamples(params IReadOnlyList<string> adapterNames)
    {
        ArgumentNullException.ThrowIfNull(adapterNames);
        RefuseIfMerged("mix adapters in a batch");
        SampleAdapters samples = new(adapterNames);
        foreach (string name in samples.Names.Where(name => name != SampleAdapters.Base))
        {
            _ = Find(name);
            if (swapped.Of(name).Select(entry => entry.Key).FirstOrDefault() is { } parameter)
            {
                throw new InvalidOperationException($"The adapter '{name}' trains {parameter} of the model itself, which serves all samples of a batch alike.");
            }

            if (installation.Layers.FirstOrDefault(layer => layer.Choice.Route == InjectionRoute.SubstituteWeight && layer.Stack.Find(name) is not null) is { } layer)
            {
                throw new InvalidOperationException($"{layer.Path} runs on a substituted weight, which serves all samples of a batch alike.");
            }
        }

        mixed.Add(samples);
        Settle();
        return new Scope(() =>
        {
            mixed.Remove(samples);
            Settle();
        });
    }

    /// <summary>
    /// Puts another adapter in the place of one: the new one has its name, and is active if it was. The two may differ in
    /// kind, rank, scaling and targets. PEFT: <c>hotswap_adapter</c>.
    /// </summary>
    /// <param name="adapterName">The adapter to replace.</param>
    /// <param name="folder">The folder that holds the new one's two files.</param>
    /// <returns>What was adapted.</returns>
    /// <exception cref="KeyNotFoundException">There is no such adapter.</exception>
    /// <exception cref="IOException">The folder or a file of it is missing.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or does not fit the model. Nothing was changed.</exception>
    /// <exception cref="InvalidOperationException">The adapters are merged. Nothing was changed.</exception>
    public InjectionReport HotSwap(string adapterName, string folder)
    {
        _ = Find(adapterName);
        RefuseIfMerged("swap an adapter");
        RefuseIfMixed("swap an adapter");
        string incoming = $"{adapterName}_incoming";
        while (adapters.Exists(adapter => adapter.Key == incoming))
        {
            incoming += "_";
        }

        string[] after = active;
        int place = adapters.FindIndex(adapter => adapter.Key == adapterName);
        using (PeftFolder file = PeftFolder.Read(folder))
        {
            AddFrom(incoming, file, [.. after.Select(name => name == adapterName ? incoming : name)]);
        }

        Remove(adapterName);
        Rename(incoming, adapterName);
        KeyValuePair<string, InstalledAdapter> swappedIn = adapters[^1];
        adapters.RemoveAt(adapters.Count - 1);
        adapters.Insert(place, swappedIn);
        Activate(after);
        return ReportOf(adapterName);
    }

    // Puts in force what is active, switched off and named for samples, wherever it stands.
    private void Settle()
    {
        if (unloaded)
        {
            return;
        }

        foreach (InstalledLayer layer in installation.Layers)
        {
            layer.Stack.Enabled = disabled == 0;
            layer.Stack.Samples = mixed.LastOrDefault();
        }

        // What trains of the model itself would serve all samples alike.
        swapped.Show(disabled == 0 && mixed.Count == 0 ? active : []);
    }

    private void RefuseIfMixed(string action)
    {
        if (mixed.Count > 0)
        {
            throw new InvalidOperationException($"Cannot {action} while adapters are named for single samples; dispose the scope that {nameof(ForSamples)} returned first.");
        }
    }

    private InjectionReport AddFresh(string adapterName, AdapterOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        RefuseIfUnloaded();
        RefuseAdding(adapterName);
        (int Steps, int Layers) mark = installation.Mark;
        InjectionReport report = Add(adapterName, InjectionPlan.Make(Model, options, injection, adapterName));
        try
        {
            CheckReach(adapterName);
            return report;
        }
        catch
        {
            Remove(adapterName);
            installation.RollBack(mark);
            throw;
        }
    }

    private void Rescale(IReadOnlyList<string> names, Func<double, double> scale, double factor)
    {
        if (!double.IsFinite(factor))
        {
            throw new ArgumentOutOfRangeException(nameof(factor), factor, "The factor must be finite.");
        }

        RefuseIfMerged("rescale an adapter");
        (LowRankAdapter Adapter, double Scale)[] scales =
        [
            .. from layer in Layers
               from adapter in names.Select(layer.Value.Find).OfType<LowRankAdapter>()
               select (adapter, scale(adapter.Scale)),
        ];
        if (Array.Exists(scales, entry => !double.IsFinite(entry.Scale)))
        {
            throw new ArgumentOutOfRangeException(nameof(factor), factor, "The scale that results must be finite.");
        }

        Array.ForEach(scales, entry => entry.Adapter.Scale = entry.Scale);
    }

    private void Remove(string adapterName)
    {
        foreach ((_, AdapterStack stack) in Layers.Where(layer => layer.Value.Find(adapterName) is not null))
        {
            stack.Delete(adapterName);
        }

        swapped.Delete(adapterName);
        RemoveProjections(adapters.Find(adapter => adapter.Key == adapterName).Value?.Projections);
        adapters.RemoveAll(adapter => adapter.Key == adapterName);
        active = [.. active.Where(name => name != adapterName)];
    }
}
