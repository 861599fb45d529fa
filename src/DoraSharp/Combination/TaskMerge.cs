using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The arithmetic of task vectors: tensors of one shape are pruned one by one, weighted, and become one tensor, by their
/// sum or by TIES's election. The tensors may be factors, updates or gains.
/// </summary>
/// <param name="Combination">The type, density and way to elect.</param>
/// <param name="KeepMask">Gives the mask of the elements that DARE keeps, for a shape; asked once per tensor, in order.</param>
internal sealed record TaskMerge(AdapterCombination Combination, Func<long[], Tensor> KeepMask)
{
    private CombinationType Type => Combination.EffectiveType;

    private double Density => Combination.Density!.Value;

    /// <summary>Prunes, weighs and merges tensors.</summary>
    /// <param name="tensor">Gives the tensor of an index. It is asked for one after the other: an update can be as large as the weight itself.</param>
    /// <param name="weights">The weight of each.</param>
    public Tensor PruneAndMerge(Func<int, Tensor> tensor, IReadOnlyList<double> weights) => Merge(i => Pruned(tensor(i)), weights);

    /// <summary>Weighs and merges tensors.</summary>
    public Tensor Merge(Func<int, Tensor> tensor, IReadOnlyList<double> weights)
    {
        using var scope = NewDisposeScope();
        Tensor merged = Type.ElectsSigns()
            ? MeanOfAgreeing([.. Enumerable.Range(0, weights.Count).Select(tensor)], weights)
            : Sum(tensor, weights);
        return merged.MoveToOuterDisposeScope();
    }

    private static Tensor Sum(Func<int, Tensor> tensor, IReadOnlyList<double> weights)
    {
        Tensor sum = tensor(0) * weights[0];
        for (int i = 1; i < weights.Count; i++)
        {
            using var scope = NewDisposeScope();
            sum.add_(tensor(i), alpha: weights[i]);
        }

        return sum;
    }

    /// <summary>TIES: the sign is elected before weighting; what has it is averaged over its count, after weighting.</summary>
    private Tensor MeanOfAgreeing(Tensor[] tensors, IReadOnlyList<double> weights)
    {
        Tensor ballot = zeros_like(tensors[0]);
        foreach (Tensor tensor in tensors)
        {
            ballot.add_(Combination.MajoritySign == MajoritySign.Total ? tensor : tensor.sign());
        }

        Tensor elected = ballot.ge(0).to(ballot.dtype).mul_(2).sub_(1);
        Tensor sum = zeros_like(ballot);
        Tensor count = zeros_like(ballot);
        foreach ((Tensor tensor, double weight) in tensors.Zip(weights))
        {
            Tensor agrees = tensor.sign().eq(elected).to(ballot.dtype);
            sum.addcmul_(tensor, agrees, value: weight);
            count.add_(agrees);
        }

        return sum.div_(count.clamp_(min: 1));
    }

    private Tensor Pruned(Tensor tensor)
    {
        if (!Type.Prunes() || Density == 1)
        {
            return tensor;
        }

        using var scope = NewDisposeScope();
        Tensor pruned = Type.PrunesAtRandom()
            ? tensor * KeepMask(tensor.shape).to(tensor.dtype).to(tensor.device) / Density
            : Largest(tensor);
        return pruned.MoveToOuterDisposeScope();
    }

    /// <summary>The ⌊density·n⌋ elements of the largest size; zero elsewhere.</summary>
    private Tensor Largest(Tensor tensor)
    {
        Tensor flat = tensor.reshape(-1);
        int kept = checked((int)(Density * flat.numel()));
        Tensor places = flat.abs().topk(kept, dim: 0, largest: true, sorted: false).indexes;
        return zeros_like(flat).index_copy_(0, places, flat.index_select(0, places)).reshape(tensor.shape);
    }
}
