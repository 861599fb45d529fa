using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>What all layers of one forward share: where its tokens stand in the text, and what they may look at.</summary>
internal sealed record AttentionContext
{
    /// <summary>Cosines of the rotary angles, <c>[tokens, headDimension]</c>.</summary>
    public required Tensor Cosines { get; init; }

    /// <summary>Sines of the rotary angles, negated in the first half, <c>[tokens, headDimension]</c>.</summary>
    public required Tensor SignedSines { get; init; }

    /// <summary>The keys and values of earlier tokens, if they are kept.</summary>
    public required KeyValueCache? Cache { get; init; }

    /// <summary>Whether token i sees tokens 0 to i and no other token is there: the square causal mask.</summary>
    public required bool IsCausal { get; init; }

    /// <summary>What the tokens see where the mask is not the square causal one: boolean <c>[tokens, cached + tokens]</c>, or nothing to see everything.</summary>
    public required Tensor? Mask { get; init; }
}
