using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// EVA (arXiv 2410.07170): A's rows are the leading principal components of the layer's inputs, B is zero; ranks go to the
/// layers whose components explain most. PEFT: <c>init_lora_weights="eva"</c>.
/// </summary>
/// <remarks>
/// The components are exact, from the inputs' whole covariance; PEFT's come from an incremental, randomised decomposition
/// that stops when they turn by less than <see cref="EvaOptions.Tau"/> allows.
/// </remarks>
internal static class EvaInitializer
{
    /// <summary>PEFT's bound of rho.</summary>
    private const double MostRho = 1000;

    /// <summary>The factors of one layer.</summary>
    /// <param name="outputs">out.</param>
    /// <param name="scatter">The inputs' scatter matrix [in, in], as <see cref="InputScatter"/> gathers it.</param>
    /// <param name="rank">r.</param>
    /// <param name="whiten">Divide each row of A by the square root of its singular value, as PEFT does.</param>
    /// <param name="dtype">The factors' dtype.</param>
    /// <exception cref="ArgumentException">The inputs vary along fewer than r directions.</exception>
    public static InitialFactors Create(long outputs, Tensor scatter, int rank, bool whiten, ScalarType dtype)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        PrincipalComponents components = PrincipalComponents.Of(scatter);
        if (components.Scatter.shape[0] < rank)
        {
            throw new ArgumentException(
                $"EVA needs {rank} directions along which the layer's inputs vary; there are {components.Scatter.shape[0]}. " +
                $"Give more data, or a lower rank with {nameof(LoraOptions)}.{nameof(LoraOptions.RankPattern)}.", nameof(rank));
        }

        Tensor a = components.Directions.narrow(0, 0, rank);
        if (whiten)
        {
            // The scatter is the square of the singular value.
            a = a / components.Scatter.narrow(0, 0, rank).pow(0.25).unsqueeze(1);
        }

        return InitialFactors.Of(a, zeros(outputs, rank, device: scatter.device), dtype).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Gives the layers' ranks, as many as they have together, to the components that explain the largest share of their
    /// layer's variance. A layer can get up to rho times its rank, or none: then it is not to be adapted.
    /// </summary>
    /// <param name="layers">The layers with the ranks and alphas that their options give them, in the model's order.</param>
    /// <param name="scatters">The scatter matrix of a layer's inputs, by its path.</param>
    /// <param name="options">Rho, and whether alphas follow the ranks.</param>
    /// <returns>The same layers in the same order with new ranks and alphas.</returns>
    public static IReadOnlyList<EvaLayer> Redistribute(IReadOnlyList<EvaLayer> layers, Func<string, Tensor> scatters, EvaOptions options)
    {
        double rho = Math.Min(options.Rho, MostRho);
        List<(double Share, int Layer)> components = [];
        for (int i = 0; i < layers.Count; i++)
        {
            double[] shares = PrincipalComponents.ExplainedVariance(scatters(layers[i].Path));
            int most = (int)Math.Round(layers[i].Rank * rho);
            components.AddRange(shares.Take(most).Select(share => (share, i)));
        }

        // OrderBy is stable: of equal shares the earlier layer's comes first.
        int budget = layers.Sum(layer => layer.Rank);
        int[] ranks = new int[layers.Count];
        foreach ((_, int layer) in components.OrderByDescending(component => component.Share).Take(budget))
        {
            ranks[layer]++;
        }

        return [.. layers.Select((layer, i) => layer with
        {
            Rank = ranks[i],
            Alpha = options.AdjustScalingFactors ? layer.Alpha * ranks[i] / layer.Rank : layer.Alpha,
        })];
    }
}
