namespace DoraSharp;

/// <summary>What acted in an adapted weight's stack when it was used.</summary>
internal sealed class AdapterUse : IEquatable<AdapterUse>
{
    [ThreadStatic]
    private static List<List<AdapterUse>>? watchers;

    private readonly AdapterStack stack;
    private readonly Adapter[] acting;
    private readonly SampleAdapters? samples;
    private readonly bool trains;
    private readonly double[] values;

    private AdapterUse(AdapterStack stack)
    {
        this.stack = stack;
        acting = stack.Acting;
        samples = stack.Samples;
        trains = stack.training;
        values = [.. acting.OfType<LowRankAdapter>().Select(static adapter => adapter.Scaling), .. acting.SelectMany(static adapter => adapter.parameters()).Select(static parameter => (double)ModuleState.VersionOf(parameter))];
    }

    /// <summary>Adds the uses of stacks on this thread to a list until the scope is disposed.</summary>
    public static IDisposable Watch(List<AdapterUse> uses)
    {
        watchers ??= [];
        watchers.Add(uses);
        return new Scope(() => watchers.Remove(uses));
    }

    /// <summary>Notes that a stack is used.</summary>
    public static void Note(AdapterStack stack)
    {
        if (watchers is { Count: > 0 } all)
        {
            AdapterUse use = new(stack);
            all.ForEach(uses => uses.Add(use));
        }
    }

    public bool Equals(AdapterUse? other) => other is not null
        && ReferenceEquals(stack, other.stack) && ReferenceEquals(samples, other.samples) && trains == other.trains
        && acting.SequenceEqual(other.acting) && values.SequenceEqual(other.values);

    public override bool Equals(object? obj) => Equals(obj as AdapterUse);

    public override int GetHashCode() => stack.GetHashCode();
}
