using System.Globalization;

namespace DoraSharp;

/// <summary>The groups of a pattern while it is read, numbered from the left as Python does, whether they have a name or not.</summary>
internal sealed class PatternGroups
{
    private const int MostGroups = 10_000;
    private readonly List<GroupNode?> closed = [null];
    private readonly Dictionary<string, int> names = new(StringComparer.Ordinal);

    /// <summary>The number of groups, the whole match included.</summary>
    public int Count => closed.Count;

    /// <summary>Gives a group its number.</summary>
    /// <exception cref="PatternSyntaxException">The name is taken or no name, or there are too many groups.</exception>
    public int Open(string? name, PatternSource source)
    {
        int index = closed.Count;
        if (index > MostGroups)
        {
            throw source.Error("there are too many groups");
        }

        if (name is not null && (!IsName(name) || !names.TryAdd(name, index)))
        {
            throw source.Error(IsName(name) ? $"two groups are named {name}" : $"{name} is no name");
        }

        closed.Add(null);
        return index;
    }

    /// <summary>Records a group that is read to its end.</summary>
    public void Close(int index, GroupNode group) => closed[index] = group;

    /// <summary>The number that a name or a number means.</summary>
    /// <exception cref="PatternSyntaxException">There is no such group yet.</exception>
    public int Find(string reference, PatternSource source)
    {
        if (names.TryGetValue(reference, out int index))
        {
            return index;
        }

        return int.TryParse(reference, NumberStyles.None, CultureInfo.InvariantCulture, out index) && index > 0 && index < closed.Count
            ? index
            : throw source.Error($"there is no group {reference}");
    }

    /// <summary>A group that a reference can mean: it must be read to its end.</summary>
    /// <exception cref="PatternSyntaxException">There is no such group, or it is still open.</exception>
    public GroupNode Closed(int index, PatternSource source) =>
        index < closed.Count && closed[index] is { } group ? group : throw source.Error($"the group {index} is not there or still open");

    private static bool IsName(string name)
    {
        int[] points = CodePoints.Of(name);
        return points.All(CharacterClass.IsWord) && CharUnicodeInfo.GetUnicodeCategory(points[0]) is not
            (UnicodeCategory.DecimalDigitNumber or UnicodeCategory.OtherNumber);
    }
}
