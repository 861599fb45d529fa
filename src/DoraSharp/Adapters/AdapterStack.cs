using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The named adapters of one frozen weight. The active ones are folded over it in the order of activation: this one
/// effective weight holds in training, in evaluation, in mixed batches and after merging.
/// </summary>
/// <remarks>The stack owns its adapters; it never owns the frozen layer.</remarks>
public sealed class AdapterStack : nn.Module
{
    private readonly Dictionary<string, Adapter> adapters = new(StringComparer.Ordinal);
    private readonly Dictionary<string, BaseAdjustment> adjustments = new(StringComparer.Ordinal);
    private readonly FrozenWeight weight;
    private string[] active = [];
    private WeightReplacement? merged;
    private IDisposable? watch;

    internal AdapterStack(FrozenWeight weight, Geometry geometry)
        : base(nameof(AdapterStack))
    {
        this.weight = weight;
        Geometry = geometry;
        RegisterComponents();
    }

    /// <summary>The adapters' names, in the order in which they were added.</summary>
    public IReadOnlyList<string> Names => [.. adapters.Keys];

    /// <summary>The names of the active adapters, in the order of activation.</summary>
    public IReadOnlyList<string> Active => active;

    /// <summary>False while the adapters are switched off, so that the layer gives the base layer's output.</summary>
    public bool Enabled { get; internal set; } = true;

    /// <summary>True while the active adapters are folded into the base weight.</summary>
    public bool IsMerged => merged is not null;

    /// <summary>The kind of layer.</summary>
    public LayerKind Kind => Geometry.Kind;

    internal FrozenWeight Weight => weight;

    /// <summary>How exactly the base layer holds the merged weight; <see langword="null"/> while nothing is merged.</summary>
    internal MergedLayer? MergedAs { get; private set; }

    /// <summary>The base weight as it is when nothing is merged, in the layer's own layout.</summary>
    internal Tensor BaseWeight => merged?.Original ?? weight.Stored;

    /// <summary>The bias as it is when nothing is merged.</summary>
    internal Tensor? BaseBias => merged?.OriginalBias ?? weight.Bias;

    internal Geometry Geometry { get; }

    /// <summary>The adapter of each sample of the next batches; <see langword="null"/> where the active ones serve all.</summary>
    internal SampleAdapters? Samples { get; set; }

    /// <summary>Counts the forward passes that went through the stack: what a probe looks at.</summary>
    internal long Uses { get; private set; }

    /// <summary>The adapters that act now on all samples, in order.</summary>
    internal Adapter[] Acting => Acts && Samples is null ? ActiveAdapters() : [];

    /// <summary>Whether the stack has anything to do now.</summary>
    internal bool Acts => Enabled && !IsMerged && (active.Length > 0 || Samples is not null);

    /// <summary>An adapter by its name.</summary>
    /// <param name="name">The name it was added under.</param>
    /// <exception cref="KeyNotFoundException">There is no adapter of that name.</exception>
    public Adapter this[string name] => Find(name)
        ?? throw new KeyNotFoundException($"There is no adapter '{name}' here; there are: {(adapters.Count == 0 ? "none" : string.Join(", ", adapters.Keys))}.");

    /// <summary>Adds a fresh adapter. It is active at once if it is the first; others wait for <see cref="Activate"/>.</summary>
    /// <param name="name">Its name: not empty, without dots.</param>
    /// <param name="options">LoRA, or DoRA with <see cref="AdapterOptions.UseDora"/>.</param>
    /// <exception cref="ArgumentException">The name is taken or not allowed.</exception>
    /// <exception cref="InvalidOperationException">The stack is merged.</exception>
    /// <exception cref="NotSupportedException">The base weight's dtype cannot be adapted.</exception>
    public void Add(string name, LoraOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        Add(name, options, data: null);
        if (active.Length == 0 && adapters.Count == 1)
        {
            Activate(name);
        }
    }

    /// <summary>
    /// Makes exactly these adapters active, in this order. The active adapters train; the others are frozen.
    /// </summary>
    /// <param name="names">One or more names, or none to let the base layer speak alone.</param>
    /// <exception cref="KeyNotFoundException">There is no adapter of one of the names.</exception>
    /// <exception cref="ArgumentException">A name occurs twice.</exception>
    /// <exception cref="InvalidOperationException">The stack is merged.</exception>
    public void Activate(params IReadOnlyList<string> names)
    {
        ArgumentNullException.ThrowIfNull(names);
        RefuseIfMerged("activate adapters");
        foreach (string name in names)
        {
            _ = this[name];
        }

        if (names.Distinct(StringComparer.Ordinal).Count() != names.Count)
        {
            throw new ArgumentException($"An adapter can be active once only; given: {string.Join(", ", names)}.", nameof(names));
        }

        active = [.. names];
        foreach ((string name, Adapter adapter) in adapters)
        {
            foreach (var parameter in adapter.parameters())
            {
                parameter.requires_grad = active.Contains(name);
            }
        }
    }

    /// <summary>Deletes an adapter and frees its memory.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="KeyNotFoundException">There is no adapter of that name.</exception>
    /// <exception cref="InvalidOperationException">The stack is merged.</exception>
    public void Delete(string name)
    {
        RefuseIfMerged("delete an adapter");
        Detach(name).Dispose();
        UndoAdjustment(name);
    }

    /// <summary>Gives an adapter another name. It stays active if it is.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="newName">The new one: not empty, without dots.</param>
    /// <exception cref="KeyNotFoundException">There is no adapter of that name.</exception>
    /// <exception cref="ArgumentException">The new name is taken or not allowed.</exception>
    public void Rename(string name, string newName)
    {
        _ = this[name];
        RefuseName(newName);
        string[] activeAfter = [.. active.Select(n => n == name ? newName : n)];

        // The others keep their order, and with it their place in the state dict.
        KeyValuePair<string, Adapter>[] before = [.. adapters];
        foreach ((string key, _) in before)
        {
            _internal_submodules.Remove(key);
        }

        adapters.Clear();
        if (adjustments.Remove(name, out BaseAdjustment? adjustment))
        {
            adjustments.Add(newName, adjustment);
        }

        foreach ((string key, Adapter adapter) in before)
        {
            Register(key == name ? newName : key, adapter);
        }

        active = activeAfter;
    }

    /// <summary>The effective weight of the active adapters as a matrix [out, in], in the base weight's dtype, rounded once. A new tensor.</summary>
    /// <remarks>Computed in float64 by blocks of rows. No gradient. An embedding's matrix is [dimension, rows], a convolution's [out, in/groups·kernel].</remarks>
    public Tensor EffectiveWeight() => EffectiveWeight(weight.DType, rounding: null);

    /// <summary>The same in another dtype.</summary>
    /// <param name="dtype">The dtype.</param>
    /// <param name="rounding">Gathers the error of the one rounding, if it is given.</param>
    internal Tensor EffectiveWeight(ScalarType dtype, WeightError? rounding)
    {
        if (active.Length == 0)
        {
            using var noGrad = no_grad();
            using Tensor dense = weight.Dense();
            return dense.to(dtype, copy: true);
        }

        return weight.ByRowBlocks(ScalarType.Float64, (rows, first) =>
        {
            Tensor exact = active.Aggregate(rows, (v, name) => adapters[name].FoldRows(v, first, weight));
            Tensor rounded = exact.to(dtype);
            rounding?.Add(rounded, exact);
            return rounded;
        });
    }

    /// <summary>Folds the active adapters into the base weight. <see cref="Unmerge"/> brings its bits back.</summary>
    /// <param name="safe">Refuse a result that is not finite.</param>
    /// <param name="requantize">
    /// Quantize the merged weight again where the base is quantized: small, but for an error of several percent of the weight.
    /// By default such a layer becomes dense for as long as it is merged.
    /// </param>
    /// <returns>How exactly the layer holds the merged weight.</returns>
    /// <exception cref="InvalidOperationException">
    /// The stack is merged already, the update has not the weight's shape, or the result is not finite; then nothing was changed.
    /// </exception>
    public MergedLayer Merge(bool safe = true, bool requantize = false) => MergePlan.Run([new("this layer", this)], safe, requantize).Layers[0];

    /// <summary>Restores the base weight bit for bit, from what <see cref="Merge"/> kept.</summary>
    /// <exception cref="InvalidOperationException">The stack is not merged.</exception>
    public void Unmerge()
    {
        if (merged is null)
        {
            throw new InvalidOperationException("The adapters are not merged.");
        }

        merged.Revert();
        ForgetOriginal();
    }

    /// <summary>
    /// Forgets the norms that are kept. Needed only after writing into the memory of W, A, B or m by other means than tensor operations and the
    /// <c>load</c> of modules: <c>tensor.data&lt;float&gt;()[0] = 1</c>, <c>tensor.bytes</c>, <c>tensor.Load(reader)</c>. Everything else is noticed.
    /// </summary>
    public void Invalidate()
    {
        weight.Invalidate();
        foreach (Adapter adapter in adapters.Values)
        {
            adapter.Invalidate();
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
    {
        StateRequests.Note();
        return base.named_buffers(recurse, include_nonpersistent);
    }

    /// <summary>Whether an active adapter has a bias of its own, which a merge folds into the base's.</summary>
    internal bool HasActiveBias => weight.Bias is not null && Array.Exists(active, name => adapters[name].Bias is not null);

    /// <summary>An adapter by its name, if the stack has it.</summary>
    internal Adapter? Find(string name) => adapters.GetValueOrDefault(name);

    /// <summary>Adds a fresh adapter, which is not active.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="options">Its options.</param>
    /// <param name="data">What a data-driven initialization gathered of this layer.</param>
    /// <param name="initializes">Whether the initialization looks at the base weight, which it may change; if not, A and B start as by default.</param>
    internal void Add(string name, LoraOptions options, Tensor? data, bool initializes = true)
    {
        RefuseAdding(name, options);
        LoraOptions start = initializes ? options : options with { Initialization = LoraInitialization.Kaiming };
        if (start.Initialization.ChangesBase && adapters.Count > 0)
        {
            throw new InvalidOperationException(
                $"The initialization {options.Initialization} of '{name}' would change the base weight under the adapters {string.Join(", ", adapters.Keys)}. " +
                "Add it first, or save it as a plain adapter and load that.");
        }

        InitialFactors factors = LoraInitializer.Initialize(start, weight, Geometry, Adapter.ParameterType(weight.DType), data);
        BaseAdjustment? adjustment = null;
        try
        {
            adjustment = factors.Residual is null ? null : BaseAdjustment.Make(weight, factors);
            Attach(name, new LoraAdapter(options, weight, Geometry, factors));
            factors.Residual?.Dispose();
        }
        catch
        {
            factors.Dispose();
            adjustment?.Undo(weight);
            adjustment?.Dispose();
            throw;
        }

        if (adjustment is not null)
        {
            adjustments.Add(name, adjustment);
        }
    }

    /// <summary>What an adapter's initialization took out of the base weight, if it did.</summary>
    internal BaseAdjustment? AdjustmentOf(string name) => adjustments.GetValueOrDefault(name);

    /// <summary>Adds an adapter that was made for this weight; it is not active.</summary>
    internal void Attach(string name, Adapter adapter)
    {
        adapter.train(training);
        Register(name, adapter);
        foreach (var parameter in adapter.parameters())
        {
            parameter.requires_grad = false;
        }
    }

    /// <summary>Puts another adapter in the place of one, which is disposed. A base weight that the old one's initialization changed is restored.</summary>
    internal void Exchange(string name, Adapter adapter)
    {
        Adapter old = this[name];
        adapter.train(training);
        adapters[name] = adapter;
        _internal_submodules[name] = adapter;
        foreach (var parameter in adapter.parameters())
        {
            parameter.requires_grad = active.Contains(name);
        }

        old.Dispose();
        UndoAdjustment(name);
    }

    /// <summary>Takes an adapter out without disposing it.</summary>
    internal Adapter Detach(string name)
    {
        Adapter adapter = this[name];
        active = [.. active.Where(n => n != name)];
        adapters.Remove(name);
        _internal_submodules.Remove(name);
        return adapter;
    }

    /// <summary>Lets one adapter act alone, and train, until the scope is disposed: for a probe.</summary>
    internal IDisposable Alone(string name)
    {
        (string[] Active, bool Enabled, SampleAdapters? Samples) before = (active, Enabled, Samples);
        TorchSharp.Modules.Parameter[] frozen = [.. this[name].parameters().Where(parameter => !parameter.requires_grad)];
        (active, Enabled, Samples) = ([name], true, null);
        Array.ForEach(frozen, parameter => parameter.requires_grad = true);
        return new Scope(() =>
        {
            (active, Enabled, Samples) = before;
            Array.ForEach(frozen, parameter => parameter.requires_grad = false);
        });
    }

    /// <summary>Throws unless an adapter of that name can be added.</summary>
    internal void RefuseAdding(string name, AdapterOptions options)
    {
        RefuseName(name);
        Geometry.CheckOptions(options);
        RefuseIfMerged("add an adapter");
    }

    /// <summary>The adapted output for the base layer's output z = W x + b; z itself where nothing is to be done.</summary>
    /// <param name="x">The layer's input.</param>
    /// <param name="z">The base layer's output.</param>
    /// <param name="ownsOutput">Whether nobody else can hold z, so that it is disposed where another tensor is returned.</param>
    /// <param name="isProduct">Whether z is known to be W x + b of this very x: false where the base layer may have got another.</param>
    internal Tensor Apply(Tensor x, Tensor z, bool ownsOutput, bool isProduct = true)
    {
        if (!ownsOutput || !isProduct || !Acts || Samples is not null || AtOnce(x, z) is not { } output)
        {
            return Apply(x, z, ownsOutput, Geometry, weight.Bias);
        }

        NoteUse();
        z.Dispose();
        return output;
    }

    /// <summary>The same where only some of the outputs are asked for, or where the bias is not a parameter of its own.</summary>
    /// <param name="x">The input.</param>
    /// <param name="z">The base layer's output.</param>
    /// <param name="ownsOutput">As above.</param>
    /// <param name="geometry">How the input meets those rows of the weight.</param>
    /// <param name="bias">The bias in z, [out]: what <see cref="Geometry.PerOutput"/> takes.</param>
    internal Tensor Apply(Tensor x, Tensor z, bool ownsOutput, Geometry geometry, Tensor? bias)
    {
        NoteUse();
        if (!Acts)
        {
            return z;
        }

        using var scope = NewDisposeScope();
        Tensor y = Samples is { } samples
            ? samples.Apply(x, z, (part, output, name) => Find(name) is { } adapter ? Adapted(part, output, [adapter], geometry, bias) : output, geometry.SampleDimension)
            : Adapted(x, z, ActiveAdapters(), geometry, bias);
        Tensor result = y.MoveToOuterDisposeScope();
        if (ownsOutput)
        {
            z.Dispose();
        }

        return result;
    }

    /// <summary>The effective weight as a function of the adapters' parameters, in the layer's own layout: for routes that substitute the weight.</summary>
    internal Tensor DifferentiableWeight() => DifferentiableWeight(Samples is null ? ActiveAdapters() : []);

    /// <summary>The same for one adapter alone, or for the base where there is none of that name.</summary>
    internal Tensor DifferentiableWeight(string name) => DifferentiableWeight(Find(name) is { } adapter ? [adapter] : []);

    /// <summary>The bias of the active adapters and the base together, in the base's dtype; <see langword="null"/> where no adapter has one.</summary>
    internal Tensor? EffectiveBias()
    {
        if (weight.Bias is not { } bias || !Array.Exists(active, name => adapters[name].Bias is not null))
        {
            return null;
        }

        using var noGrad = no_grad();
        return ActiveAdapters().Aggregate((Tensor)bias.to(ScalarType.Float64), static (sum, adapter) => Sum(sum, adapter.Bias)!).to(bias.dtype);
    }

    /// <summary>Puts a merged weight in place of the base weight; the stack takes over the way back.</summary>
    internal void Put(WeightReplacement replacement, MergedLayer report)
    {
        replacement.Apply();
        (merged, MergedAs) = (replacement, report);
    }

    /// <summary>Makes a merge final: the way back is given up.</summary>
    internal void ForgetOriginal()
    {
        merged?.Dispose();
        (merged, MergedAs) = (null, null);
    }

    /// <summary>Makes the base weight that initializations left final, as a merge does.</summary>
    internal void ForgetAdjustments()
    {
        foreach (BaseAdjustment adjustment in adjustments.Values)
        {
            adjustment.Dispose();
        }

        adjustments.Clear();
    }

    /// <summary>Throws unless the stack can be merged.</summary>
    internal void RefuseMerge(string path)
    {
        RefuseIfMerged("merge");
        if (!Enabled)
        {
            throw new InvalidOperationException("Cannot merge while the adapters are switched off; dispose the scope that Disable() returned first.");
        }

        if (Samples is not null)
        {
            throw new InvalidOperationException("Cannot merge while adapters are named for single samples; dispose the scope that ForSamples(...) returned first.");
        }

        if (active.Length > 0 && (weight.WhyNotMergeable ?? Geometry.WhyNotMergeable) is { } reason)
        {
            throw new InvalidOperationException($"{path} cannot be merged: {reason}. Nothing was merged.");
        }

        if (weight.Bias is null && active.FirstOrDefault(name => adapters[name].Bias is not null) is { } biased)
        {
            throw new InvalidOperationException($"{path} cannot be merged: the adapter '{biased}' has a bias and the base layer has none to fold it into. Nothing was merged.");
        }
    }

    internal void RefuseIfMerged(string action)
    {
        if (IsMerged)
        {
            throw new InvalidOperationException($"Cannot {action} while the adapters are merged; call Unmerge() first.");
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            if (!IsMerged)
            {
                adjustments.Values.ToList().ForEach(adjustment => adjustment.Undo(weight));
            }

            ForgetAdjustments();
            ForgetOriginal();
            watch?.Dispose();
            weight.Dispose();
            Geometry.Dispose();
        }

        base.Dispose(disposing);
    }

    private static Tensor? Sum(Tensor? a, Tensor? b) => a is null ? b : b is null ? a : a + b.to(a.dtype);

    /// <summary>The output by a single step, where one low-rank adapter is all there is; z is overwritten then.</summary>
    private Tensor? AtOnce(Tensor x, Tensor z)
    {
        if (active.Length != 1 || adapters[active[0]] is not LowRankAdapter only)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        return only.FoldAtOnce(x, z, weight, training)?.MoveToOuterDisposeScope();
    }

    private void NoteUse()
    {
        Uses++;
        AdapterUse.Note(this);
    }

    private Adapter[] ActiveAdapters() => Array.ConvertAll(active, name => adapters[name]);

    private void UndoAdjustment(string name)
    {
        if (adjustments.Remove(name, out BaseAdjustment? adjustment))
        {
            adjustment.Undo(weight);
            adjustment.Dispose();
        }
    }

    private void Register(string name, Adapter adapter)
    {
        adapters.Add(name, adapter);
        register_module(name, adapter);
        watch ??= weight.WatchState();
    }

    private void RefuseName(string name)
    {
        AdapterName.Check(name);
        if (adapters.ContainsKey(name))
        {
            throw new ArgumentException($"There is an adapter '{name}' already; delete it first or take another name.", nameof(name));
        }
    }

    private Tensor Adapted(Tensor x, Tensor z, Adapter[] steps, Geometry geometry, Tensor? bias)
    {
        (Tensor input, Tensor output) = geometry.Canonical(x, z, weight);
        return Fold(output, input, steps, geometry, bias, training).to(z.dtype).reshape(z.shape);
    }

    private Tensor DifferentiableWeight(Adapter[] steps)
    {
        NoteUse();
        using var scope = NewDisposeScope();
        Tensor dense = weight.Dense();
        if (!Enabled || IsMerged || steps.Length == 0)
        {
            return weight.FromMatrix(dense).alias().MoveToOuterDisposeScope();
        }

        Tensor v = dense.to(steps[0].DType);
        Tensor effective = steps.Aggregate(v, (rows, adapter) => adapter.FoldRows(rows, 0, weight)).to(dense.dtype);
        return weight.FromMatrix(effective).MoveToOuterDisposeScope();
    }

    private Tensor Fold(Tensor y, Tensor x, ReadOnlyMemory<Adapter> steps, Geometry geometry, Tensor? bias, bool drops, bool bare = false)
    {
        for (int i = 0; i < steps.Length; i++)
        {
            ReadOnlyMemory<Adapter> before = steps[..i];
            Adapter adapter = steps.Span[i];
            Tensor input = x.is_floating_point() ? x.to(adapter.DType) : x;
            y = adapter.FoldOutput(y.to(adapter.DType), input, new(weight, geometry, bias, drops, other => Product(other, before, geometry)));
            if (!bare && adapter.Bias is { } own)
            {
                y += geometry.PerOutput(own);
                bias = Sum(bias, own);
            }
        }

        return y;
    }

    /// <summary>The product of the first steps' effective weight with another input, without bias and dropout.</summary>
    private Tensor Product(Tensor x, ReadOnlyMemory<Adapter> steps, Geometry geometry)
    {
        // The base gets the input in its own dtype, as it got the layer's.
        Tensor product = geometry.Product(x.to(weight.DType), weight);
        return Fold(product, x, steps, geometry, bias: null, drops: false, bare: true).to(x.dtype);
    }
}
