using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The named adapters of one frozen weight. The active ones are folded over it in the order of activation: this one
/// effective weight holds in training, in evaluation and after merging.
/// </summary>
/// <remarks>The stack owns its adapters; it never owns the frozen layer.</remarks>
public sealed class AdapterStack : nn.Module
{
    private readonly Dictionary<string, Adapter> adapters = new(StringComparer.Ordinal);
    private readonly FrozenWeight weight;
    private string[] active = [];
    private OriginalWeight? original;

    internal AdapterStack(FrozenWeight weight)
        : base(nameof(AdapterStack))
    {
        this.weight = weight;
        RegisterComponents();
    }

    /// <summary>The adapters' names, in the order in which they were added.</summary>
    public IReadOnlyList<string> Names => [.. adapters.Keys];

    /// <summary>The names of the active adapters, in the order of activation.</summary>
    public IReadOnlyList<string> Active => active;

    /// <summary>False while the adapters are switched off, so that the layer gives the base layer's output.</summary>
    public bool Enabled { get; internal set; } = true;

    /// <summary>True while the active adapters are folded into the base weight.</summary>
    public bool IsMerged => original is not null;

    /// <summary>Counts the forward passes that went through the stack: what a probe looks at.</summary>
    internal long Uses { get; private set; }

    /// <summary>An adapter by its name.</summary>
    /// <param name="name">The name it was added under.</param>
    /// <exception cref="KeyNotFoundException">There is no adapter of that name.</exception>
    public Adapter this[string name] => adapters.TryGetValue(name, out Adapter? adapter)
        ? adapter
        : throw new KeyNotFoundException($"There is no adapter '{name}' here; there are: {(adapters.Count == 0 ? "none" : string.Join(", ", adapters.Keys))}.");

    /// <summary>Adds a fresh adapter. It is active at once if it is the first; others wait for <see cref="Activate"/>.</summary>
    /// <param name="name">Its name: not empty, without dots.</param>
    /// <param name="options">LoRA, or DoRA with <see cref="AdapterOptions.UseDora"/>.</param>
    /// <exception cref="ArgumentException">The name is taken or not allowed.</exception>
    /// <exception cref="InvalidOperationException">The stack is merged.</exception>
    /// <exception cref="NotSupportedException">The base weight's dtype cannot be adapted.</exception>
    public void Add(string name, LoraOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        AdapterName.Check(name);
        RefuseIfMerged("add an adapter");
        if (adapters.ContainsKey(name))
        {
            throw new ArgumentException($"There is an adapter '{name}' already; delete it first or take another name.", nameof(name));
        }

        Adapter adapter = options.UseDora ? new DoraAdapter(options, weight) : new LoraAdapter(options, weight);
        adapter.train(training);
        adapters.Add(name, adapter);
        register_module(name, adapter);
        Activate(active.Length == 0 && adapters.Count == 1 ? [name] : active);
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
        Adapter adapter = this[name];
        RefuseIfMerged("delete an adapter");
        active = [.. active.Where(n => n != name)];
        adapters.Remove(name);
        _internal_submodules.Remove(name);
        adapter.Dispose();
    }

    /// <summary>The effective weight of the active adapters, [out, in], in the base weight's dtype, rounded once. A new tensor.</summary>
    /// <remarks>Computed in float64 by blocks of rows. No gradient.</remarks>
    public Tensor EffectiveWeight()
    {
        if (active.Length == 0)
        {
            using var noGrad = no_grad();
            using Tensor dense = weight.Dense();
            return dense.clone();
        }

        ScalarType dtype = weight.DType;
        return weight.ByRowBlocks(ScalarType.Float64, (rows, first) =>
            active.Aggregate(rows, (v, name) => adapters[name].FoldRows(v, first, weight)).to(dtype));
    }

    /// <summary>Folds the active adapters into the base weight. <see cref="Unmerge"/> brings its bits back.</summary>
    /// <param name="safe">Refuse a result that is not finite.</param>
    /// <exception cref="InvalidOperationException">The stack is merged already, or the result is not finite; then nothing was changed.</exception>
    public void Merge(bool safe = true) => MergePlan.Run([new("this layer", this)], safe);

    /// <summary>Restores the base weight bit for bit, from the copy that <see cref="Merge"/> kept.</summary>
    /// <exception cref="InvalidOperationException">The stack is not merged.</exception>
    public void Unmerge()
    {
        if (original is null)
        {
            throw new InvalidOperationException("The adapters are not merged.");
        }

        original.RestoreInto(weight);
        ForgetOriginal();
    }

    /// <inheritdoc/>
    public override IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
    {
        // TorchSharp's load(file) writes straight into the memory of the tensors that state_dict() gave it. Of all that
        // state_dict() does, only asking for the buffers passes through every kind of container.
        Invalidate();
        return base.named_buffers(recurse, include_nonpersistent);
    }

    internal FrozenWeight Weight => weight;

    /// <summary>The adapted output for the base layer's output z = W x + b; z itself where nothing is to be done.</summary>
    /// <param name="x">The layer's input, [..., in].</param>
    /// <param name="z">The base layer's output, [..., out].</param>
    /// <param name="ownsOutput">Whether nobody else can hold z, so that it is disposed where another tensor is returned.</param>
    internal Tensor Apply(Tensor x, Tensor z, bool ownsOutput)
    {
        Uses++;
        if (!Enabled || IsMerged || active.Length == 0)
        {
            return z;
        }

        using var scope = NewDisposeScope();
        Tensor y = Fold(z.reshape(-1, weight.Outputs), x.reshape(-1, weight.Inputs), active.Length, weight.Bias, training);
        Tensor result = y.to(z.dtype).reshape(z.shape).MoveToOuterDisposeScope();
        if (ownsOutput)
        {
            z.Dispose();
        }

        return result;
    }

    /// <summary>The effective weight as a function of the adapters' parameters, for routes that substitute the weight.</summary>
    internal Tensor DifferentiableWeight()
    {
        Uses++;
        using var scope = NewDisposeScope();
        Tensor dense = weight.Dense();
        if (!Enabled || IsMerged || active.Length == 0)
        {
            return dense.MoveToOuterDisposeScope();
        }

        Tensor v = dense.to(adapters[active[0]].DType);
        return active.Aggregate(v, (rows, name) => adapters[name].FoldRows(rows, 0, weight)).to(dense.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>Puts a merged weight in place of the base weight; the stack takes over the copy of the original.</summary>
    internal void ReplaceWeight(Tensor merged, OriginalWeight keep)
    {
        weight.Overwrite(merged);
        original = keep;
    }

    /// <summary>Makes a merge final: the way back is given up.</summary>
    internal void ForgetOriginal()
    {
        original?.Dispose();
        original = null;
    }

    /// <summary>Throws unless the stack can be merged.</summary>
    internal void RefuseMerge()
    {
        RefuseIfMerged("merge");
        if (!Enabled)
        {
            throw new InvalidOperationException("Cannot merge while the adapters are switched off; dispose the scope that Disable() returned first.");
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
            ForgetOriginal();
            weight.Dispose();
        }

        base.Dispose(disposing);
    }

    private Tensor Fold(Tensor y, Tensor x, int steps, Tensor? bias, bool drops)
    {
        for (int i = 0; i < steps; i++)
        {
            int before = i;
            Adapter adapter = adapters[active[i]];
            y = adapter.FoldOutput(y.to(adapter.DType), x.to(adapter.DType), new(weight, bias, drops, other => Product(other, before)));
        }

        return y;
    }

    /// <summary>The product of the first steps' effective weight with another input, without bias and dropout.</summary>
    private Tensor Product(Tensor x, int steps)
    {
        // The base gets the input in its own dtype, as it got the layer's.
        Tensor product = weight.Product(x.to(weight.DType));
        return Fold(product, x, steps, bias: null, drops: false).to(x.dtype);
    }

    /// <summary>
    /// Forgets the norms that are kept. Needed only after writing into the memory of W, A or B by other means than tensor
    /// operations, such as <c>tensor.data&lt;float&gt;()[0] = 1</c>: everything else is noticed.
    /// </summary>
    public void Invalidate()
    {
        weight.Invalidate();
        foreach (Adapter adapter in adapters.Values)
        {
            adapter.Invalidate();
        }
    }
}
