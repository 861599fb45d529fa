using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// AdamW whose two running means are stored in 8 bits, in blocks of 256 elements with a scale each: 2.03 bytes per parameter in place
/// of 8 (arXiv 2110.02861). bitsandbytes: <c>AdamW8bit</c>.
/// </summary>
/// <remarks>
/// <para>
/// A step computes in float32, from the stored means and the gradient: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g²,
/// p ← (1−ηλ)p − η/(1−β₁ᵗ)·m/(√v/√(1−β₂ᵗ) + ε); then m and v are rounded to the nearest codes of the dynamic 8-bit types, and p to its
/// dtype. Parameters with fewer than <see cref="AdamW8BitOptions.Min8BitSize"/> elements keep m and v in float32.
/// </para>
/// <para>
/// Codes, scales and parameters are bitsandbytes' on a CPU, but for one thing: a mean that is 0 stays 0. There a parameter whose
/// gradient is always 0 wanders off.
/// </para>
/// <para>
/// It is used as TorchSharp's AdamW is, learning-rate schedulers included, and takes the same groups: those of
/// <see cref="LoraPlus.Groups(AdaptedModel, LoraPlusOptions)"/> too. What a group leaves open comes from the <see cref="AdamW8BitOptions"/>. Parameters without a
/// gradient are left alone. The states live where their parameters do and follow them to other devices.
/// </para>
/// </remarks>
public sealed class AdamW8Bit : OptimizerHelper, optim.IBetas
{
    private AdamW8BitOptions defaults;
    private bool disposed;

    /// <summary>Makes an optimizer of parameters.</summary>
    /// <param name="parameters">Float32, bfloat16 or float16, of any shape, on any device. They stay the caller's.</param>
    /// <param name="options">The settings.</param>
    /// <exception cref="ArgumentException">There is no parameter, one comes twice, or one is of another dtype.</exception>
    public AdamW8Bit(IEnumerable<Parameter> parameters, AdamW8BitOptions options)
        : this([new AdamW.ParamGroup(parameters ?? throw new ArgumentNullException(nameof(parameters)), new AdamW.Options())], options)
    {
    }

    /// <summary>Makes an optimizer of groups of parameters.</summary>
    /// <param name="groups">
    /// The groups, which become this optimizer's. Their parameters are as for the other constructor, taken as they are now; what their options
    /// leave open is filled in.
    /// </param>
    /// <param name="options">The settings of all that a group leaves open.</param>
    /// <exception cref="ArgumentException">
    /// There is no group, or a group has no parameter, one of another dtype, one that another has as well, options that are out of
    /// range, or AMSGrad, which there is not in 8 bits. No group was changed.
    /// </exception>
    public AdamW8Bit(IEnumerable<AdamW.ParamGroup> groups, AdamW8BitOptions options)
    {
        ArgumentNullException.ThrowIfNull(groups);
        ArgumentNullException.ThrowIfNull(options);
        defaults = options;
        _parameter_groups = [];
        AdamW.ParamGroup[] all = [.. groups];
        if (all.Length == 0)
        {
            throw new ArgumentException("An optimizer needs a group of parameters.", nameof(groups));
        }

        Add(all);
    }

    /// <summary>β₁ and β₂ of groups that are added later and leave them open.</summary>
    public (double, double) Betas
    {
        get => (defaults.Beta1, defaults.Beta2);
        set => defaults = defaults with { Beta1 = value.Item1, Beta2 = value.Item2 };
    }

    /// <summary>The memory that the states of all parameters take, in bytes.</summary>
    public long StateBytes => States.Sum(static state => state.Bytes);

    private IEnumerable<AdamW8BitState> States => _state.Values.Cast<AdamW8BitState>();

    /// <summary>Adds a group of parameters.</summary>
    /// <param name="param_group">A group with options of AdamW, or with none.</param>
    /// <exception cref="ArgumentException">As for the constructor. Nothing was changed.</exception>
    public override void add_param_group(ParamGroup param_group) => Add([param_group]);

    /// <summary>Performs one step.</summary>
    /// <param name="closure">Computes the loss anew, if given.</param>
    /// <returns>What <paramref name="closure"/> returned; without it <see langword="null"/>.</returns>
    /// <exception cref="InvalidOperationException">
    /// A gradient has NaN or infinite values, each of which would make a whole block of the states useless, or such as overflow when
    /// squared; or it is sparse. Nothing was changed.
    /// </exception>
    /// <exception cref="ArgumentException">A group's options were set out of range. Nothing was changed.</exception>
    public override Tensor? step(Func<Tensor>? closure = null)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        Tensor? loss = null;
        if (closure is not null)
        {
            using var grad = enable_grad();
            loss = closure();
        }

        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Due[] due = [.. _parameter_groups.Index().SelectMany(group => DueOf(group.Item, $"Group {group.Index}"))];
        AdamWGroups.CheckGradients([.. due.Select(static one => one.Gradient)], index => due[index].Name);
        foreach (Due one in due)
        {
            one.State.Step(one.Gradient, one.Settings, one.Maximize);
        }

        return loss;
    }

    /// <summary>Loads what <see cref="OptimizerHelper.save_state_dict(string)"/> wrote.</summary>
    /// <param name="location">The path of a file.</param>
    /// <exception cref="InvalidDataException">As for a reader, or the file goes on after the state. Nothing was changed.</exception>
    public new void load_state_dict(string location)
    {
        using FileStream stream = File.OpenRead(location);
        using BinaryReader reader = new(stream);
        using var snapshot = AdamW8BitSnapshot.Read(reader, state_dict());
        if (stream.Position != stream.Length)
        {
            throw new InvalidDataException($"The optimizer's state cannot be loaded, and nothing was changed: the file '{location}' goes on after it.");
        }

        snapshot.Commit();
    }

    /// <summary>
    /// Loads what <see cref="OptimizerHelper.save_state_dict(BinaryWriter)"/> wrote: the steps that follow are those that would have
    /// followed there, bit for bit.
    /// </summary>
    /// <param name="reader">A reader at the beginning of the state.</param>
    /// <exception cref="InvalidDataException">
    /// It is another optimizer's state, is about other groups or parameters, is damaged or cut off. Nothing was changed.
    /// </exception>
    /// <remarks>States keep the number of bits that they were saved with.</remarks>
    public new void load_state_dict(BinaryReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        using var snapshot = AdamW8BitSnapshot.Read(reader, state_dict());
        snapshot.Commit();
    }

    /// <summary>Copies the state of another <see cref="AdamW8Bit"/>.</summary>
    /// <param name="state_dict">What its <c>state_dict()</c> gave.</param>
    /// <exception cref="InvalidDataException">It is another optimizer's state, or about other groups or parameters. Nothing was changed.</exception>
    public override void load_state_dict(StateDictionary state_dict)
    {
        ArgumentNullException.ThrowIfNull(state_dict);
        using var snapshot = AdamW8BitSnapshot.Copy(state_dict, this.state_dict());
        snapshot.Commit();
    }

    /// <summary>Frees the states. The parameters stay.</summary>
    /// <param name="disposing">Whether it is no finalizer that calls.</param>
    protected override void Dispose(bool disposing)
    {
        // The finalizer also runs where the constructor refused its arguments; what is native has finalizers of its own.
        if (disposing)
        {
            disposed = true;
            foreach (AdamW8BitState state in States)
            {
                state.Dispose();
            }
        }

        base.Dispose(disposing);
    }

    private void Add(IReadOnlyList<ParamGroup> groups)
    {
        HashSet<Parameter> seen = new(parameters(), ReferenceEqualityComparer.Instance);
        List<(ParamGroup Group, Parameter[] Members, AdamW8BitOptions Settings)> all = [];
        foreach (ParamGroup group in groups)
        {
            ArgumentNullException.ThrowIfNull(group);
            string where = $"Group {_parameter_groups.Count + all.Count}";
            all.Add((group, AdamWGroups.Members(group.Parameters, seen, where), AdamWGroups.Settings(group.Options, defaults, where)));
        }

        foreach ((ParamGroup group, Parameter[] members, AdamW8BitOptions settings) in all)
        {
            group.Parameters = members;
            AdamWGroups.Fill((AdamW.Options)(group.Options ??= new AdamW.Options()), settings);
            _parameter_groups.Add(group);
            foreach (Parameter member in members)
            {
                _state[member.Handle] = new AdamW8BitState(member, member.numel() >= settings.Min8BitSize);
            }
        }
    }

    private IEnumerable<Due> DueOf(ParamGroup trained, string where)
    {
        AdamW8BitOptions settings = AdamWGroups.Settings(trained.Options, defaults, where);
        bool maximize = ((AdamW.Options)trained.Options).maximize ?? false;
        return from member in trained.Parameters.Index()
               let gradient = member.Item.grad
               where gradient is not null && gradient.numel() > 0
               select new Due((AdamW8BitState)_state[member.Item.Handle], gradient, settings, maximize, $"{where}, parameter {member.Index}");
    }

    /// <summary>A parameter with a gradient.</summary>
    private sealed record Due(AdamW8BitState State, Tensor Gradient, AdamW8BitOptions Settings, bool Maximize, string Name);
}
