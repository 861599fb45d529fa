using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The adapters of the weights of a frozen multi-head attention, and its forward with them.</summary>
/// <remarks>
/// Each projection's update takes the way of low rank beside it, as in a linear layer: no dense effective weight is made.
/// An adapter's dropout acts on its input (PEFT's acts on linear layers only).
/// </remarks>
internal sealed class AttentionAdapters
{
    private readonly MultiheadAttention layer;
    private readonly AttentionTraits traits;
    private readonly AdapterStack output;

    // Those of queries, keys and values: three times the same where one matrix has all of them.
    private readonly Projection[] inputs;

    /// <summary>Makes empty stacks for an attention's weights.</summary>
    /// <param name="layer">The attention.</param>
    /// <param name="options">What it was made with; <see langword="null"/> to try it out.</param>
    /// <exception cref="NotSupportedException">Its dtype cannot be adapted, or trying it out does not show its options.</exception>
    public AttentionAdapters(MultiheadAttention layer, AttentionOptions? options)
    {
        this.layer = layer;
        AttentionWeights weights = AttentionWeights.Of(layer);
        _ = Adapter.ParameterType(weights.OutProjection.dtype);
        traits = options is null ? AttentionTraits.Of(layer) : AttentionTraits.From(weights, options);
        bool isFused = weights.InProjection is not null;
        Weights = [.. (isFused ? AttentionProjection.Fused : AttentionProjection.Separate).Select(part => new AdaptedWeight(part.Name, part.DiskSuffix, StackOf(part)))];
        output = Weights[^1].Stack;
        long width = traits.EmbedDim;
        inputs =
        [
            .. Enumerable.Range(0, 3).Select(part => isFused
                ? new Projection(Weights[0].Stack, Geometry(Weights[0].Stack).Rows(part * width, width), BiasRows: null)
                : new Projection(Weights[part].Stack, Geometry(Weights[part].Stack), part)),
        ];
    }

    /// <summary>The adapted weights: the input projection or projections, then the output projection.</summary>
    public IReadOnlyList<AdaptedWeight> Weights { get; }

    /// <summary>Whether libtorch can run the attention itself.</summary>
    public bool RunsNative => traits.KeyDim == traits.ValueDim;

    /// <summary>The widths of queries, keys and values.</summary>
    public (long Query, long Key, long Value) Widths => (traits.EmbedDim, traits.KeyDim, traits.ValueDim);

    /// <summary>The adapted forward.</summary>
    /// <param name="input">The arguments of the call.</param>
    /// <param name="training">Whether attention weights are dropped.</param>
    /// <returns>The output and the attention weights as the attention itself returns them.</returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public Tuple<Tensor, Tensor> Run(AttentionInput input, bool training)
    {
        input.Check(traits);
        using var scope = NewDisposeScope();

        // On a transposed input libtorch multiplies by frozen weights in another way than by trained ones, and rounds otherwise.
        input = input.Contiguous();
        AttentionWeights weights = AttentionWeights.Of(layer);
        (Tensor q, Tensor k, Tensor v) = Project(input, weights);
        (Tensor context, Tensor attention) = AttentionForward.Attend(q, k, v, input, weights, traits, training);
        Tensor y = nn.functional.linear(context, weights.OutProjection, weights.OutBias);
        return Tuple.Create(output.Apply(context, y, ownsOutput: true).MoveToOuterDisposeScope(), attention.MoveToOuterDisposeScope());
    }

    private (Tensor Query, Tensor Key, Tensor Value) Project(AttentionInput input, AttentionWeights weights)
    {
        (Tensor query, Tensor key, Tensor value) = (input.Query, input.Key, input.Value);
        if (weights.InProjection is { } fused && ReferenceEquals(query, key) && ReferenceEquals(key, value))
        {
            Tensor z = nn.functional.linear(query, fused, weights.InBias);
            Tensor[] all = inputs[0].Stack.Apply(query, z, ownsOutput: true).chunk(3, -1);
            return (all[0], all[1], all[2]);
        }

        (Tensor q, Tensor k, Tensor v) = AttentionForward.Project(input, weights);
        return (inputs[0].Apply(query, q, weights.InBias), inputs[1].Apply(key, k, weights.InBias), inputs[2].Apply(value, v, weights.InBias));
    }

    private AdapterStack StackOf(AttentionProjection part)
    {
        // The three separate projections share one bias, which is therefore none of theirs.
        string bias = part.Weight switch { "in_proj_weight" => "in_proj_bias", "out_proj.weight" => "out_proj.bias", _ => "" };
        DenseWeight weight = new(layer, WeightLayout.RowMajor, part.Weight, bias);
        return new(weight, new AttentionGeometry(weight.Inputs, part.IsOutput));
    }

    private static AttentionGeometry Geometry(AdapterStack stack) => (AttentionGeometry)stack.Geometry;

    /// <summary>What makes queries, keys or values.</summary>
    /// <param name="Stack">The adapters.</param>
    /// <param name="Geometry">The rows of the weight that do.</param>
    /// <param name="BiasRows">Which third of the common bias the weight's rows have; <see langword="null"/> where they have all of it.</param>
    private sealed record Projection(AdapterStack Stack, AttentionGeometry Geometry, int? BiasRows)
    {
        public Tensor Apply(Tensor x, Tensor z, Tensor? bias) =>
            Stack.Apply(x, z, ownsOutput: false, Geometry, BiasRows is { } part ? bias?.chunk(3, 0)[part] : bias);
    }
}
