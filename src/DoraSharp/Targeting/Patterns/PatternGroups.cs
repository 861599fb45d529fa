using System.Globalization;

namespace DoraSharp;

/// <summary>The groups of a pattern while it is read, numbered from the left as Python does, whether they have a name or not.</summary>
internal sealed class PatternGroups
{
    private const int MostGroups = 10_000;
    private readonly List<GroupNode?> closed = [null];
    private readonly Dictionary<string, int> names = new(StringComparer.Ordinal);
    private int greatest;

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

    /// <summary>The number of the group with a name.</summary>
    /// <exception cref="PatternSyntaxException">There is no such group yet.</exception>
    public int Find(string name, PatternSource source) =>
        names.TryGetValue(name, out int index) ? index : throw source.Error($"there is no group {name}");

    /// <summary>The group of a condition, by name or number; a number may mean one that comes later.</summary>
    /// <exception cref="PatternSyntaxException">There can be no such group.</exception>
    public int FindForCondition(string reference, PatternSource source)
    {
        if (!int.TryParse(reference, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
        {
            return Find(reference, source);
        }

        greatest = index is > 0 and <= MostGroups ? Math.Max(greatest, index) : throw source.Error($"there is no group {index}");
        return index;
    }

    /// <summary>Makes sure, when all is read, that every group of a condition is there.</summary>
    /// <exception cref="PatternSyntaxException">One is not.</exception>
    public void CheckConditions(PatternSource source)
    {
        if (greatest >= Count)
        {
            throw source.Error($"there is no group {greatest}");
        }
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
