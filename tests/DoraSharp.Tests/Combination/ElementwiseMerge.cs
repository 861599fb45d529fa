namespace DoraSharp.Tests.Combination;

/// <summary>The arithmetic of task vectors from the papers' definitions, one element at a time.</summary>
internal static class ElementwiseMerge
{
    public static double[] Of(CombinationType type, MajoritySign election, double[][] tensors, double[] weights, double density, double[][] masks)
    {
        string name = type.ToString();
        double[][] kept = [.. tensors.Select((tensor, i) => density == 1 ? tensor : name.StartsWith("Dare", StringComparison.Ordinal)
            ? [.. tensor.Zip(masks[i], (value, mask) => value * mask / density)]
            : Largest(tensor, (int)(density * tensor.Length)))];
        return [.. Enumerable.Range(0, tensors[0].Length).Select(i => name.Contains("Ties", StringComparison.Ordinal)
            ? Agreeing([.. kept.Select(tensor => tensor[i])], weights, election)
            : kept.Zip(weights, (tensor, weight) => tensor[i] * weight).Sum())];
    }

    private static double[] Largest(double[] tensor, int count)
    {
        HashSet<int> places = [.. Enumerable.Range(0, tensor.Length).OrderByDescending(i => Math.Abs(tensor[i])).Take(count)];
        return [.. tensor.Select((value, i) => places.Contains(i) ? value : 0)];
    }

    private static double Agreeing(double[] values, double[] weights, MajoritySign election)
    {
        double ballot = election == MajoritySign.Total ? values.Sum() : values.Sum(value => Math.Sign(value));
        int elected = ballot >= 0 ? 1 : -1;
        double[] agreeing = [.. values.Zip(weights).Where(pair => Math.Sign(pair.First) == elected).Select(pair => pair.First * pair.Second)];
        return agreeing.Length == 0 ? 0 : agreeing.Average();
    }
}
