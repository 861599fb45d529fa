using TorchSharp.Modules;
using static TorchSharp.torch.optim;

namespace DoraSharp;

/// <summary>A whole state to be loaded into an <see cref="AdamW8Bit"/>: complete and checked before any of it is taken over.</summary>
internal sealed class AdamW8BitSnapshot : IDisposable
{
    private readonly Optimizer.StateDictionary own;
    private readonly List<OptimizerOptions> options = [];
    private readonly List<AdamW8BitState> states = [];

    private AdamW8BitSnapshot(Optimizer.StateDictionary own) => this.own = own;

    /// <summary>Reads what TorchSharp's <c>save_state_dict</c> wrote: the optimizer's name, the numbers of groups and parameters, the groups' options, the states.</summary>
    /// <param name="reader">A reader at the beginning.</param>
    /// <param name="own">The state to be replaced.</param>
    /// <exception cref="InvalidDataException">It does not fit, is damaged or cut off.</exception>
    public static AdamW8BitSnapshot Read(BinaryReader reader, Optimizer.StateDictionary own) => Fill(
        own,
        snapshot =>
        {
            string optimizer = reader.ReadString();
            if (optimizer != nameof(AdamW8Bit))
            {
                throw new InvalidDataException($"it is not {nameof(AdamW8Bit)}'s, but says '{optimizer[..Math.Min(optimizer.Length, 40)]}'");
            }

            snapshot.Expect(reader.Read7BitEncodedInt64(), reader.Read7BitEncodedInt64());
            for (int group = 0; group < own.Options.Count; group++)
            {
                AdamW.Options read = new();
                read.LoadStateDict(reader);
                snapshot.Add(read);
            }
        },
        state => state.Read(reader));

    /// <summary>Copies the state of another optimizer.</summary>
    /// <param name="other">The other's state.</param>
    /// <param name="own">The state to be replaced.</param>
    /// <exception cref="InvalidDataException">It does not fit.</exception>
    public static AdamW8BitSnapshot Copy(Optimizer.StateDictionary other, Optimizer.StateDictionary own)
    {
        int next = 0;
        return Fill(
            own,
            snapshot =>
            {
                snapshot.Expect(other.Options.Count, other.State.Count);
                other.Options.ForEach(snapshot.Add);
            },
            state => state.Copy(other.State[next++]));
    }

    /// <summary>Takes the state over, which cannot fail. What it replaces is freed with this object.</summary>
    public void Commit()
    {
        foreach ((OptimizerOptions group, OptimizerOptions given) in own.Options.Zip(options))
        {
            group.LoadStateDict(given);
        }

        foreach ((AdamW8BitState state, AdamW8BitState given) in own.State.Cast<AdamW8BitState>().Zip(states))
        {
            state.Exchange(given);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => states.ForEach(static state => state.Dispose());

    private static AdamW8BitSnapshot Fill(Optimizer.StateDictionary own, Action<AdamW8BitSnapshot> head, Func<AdamW8BitState, AdamW8BitState> next)
    {
        AdamW8BitSnapshot snapshot = new(own);
        string where = "the head";
        try
        {
            head(snapshot);
            foreach ((int index, AdamW8BitState state) in own.State.Cast<AdamW8BitState>().Index())
            {
                where = $"parameter {index}";
                snapshot.states.Add(next(state));
            }

            return snapshot;
        }
        catch (Exception error)
        {
            snapshot.Dispose();
            if (error is InvalidDataException or EndOfStreamException or FormatException or ArgumentException)
            {
                throw new InvalidDataException($"The optimizer's state cannot be loaded, and nothing was changed. At {where}: {error.Message}.", error);
            }

            throw;
        }
    }

    private void Add(OptimizerOptions given)
    {
        ArgumentNullException.ThrowIfNull(given);
        string where = $"group {options.Count}";
        AdamW8BitOptions settings = AdamWGroups.Settings(given, new(), where);
        _ = AdamWGroups.Settings(new AdamW.Options { LearningRate = given.InitialLearningRate }, settings, where);
        options.Add(given);
    }

    private void Expect(long groups, long parameters)
    {
        if (groups != own.Options.Count || parameters != own.State.Count)
        {
            throw new InvalidDataException($"it has {groups} groups with {parameters} parameters, the optimizer {own.Options.Count} with {own.State.Count}");
        }
    }
}
