using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Finds out what a multi-head attention does by comparing its answers with those of <see cref="AttentionForward"/>.</summary>
internal sealed partial class AttentionProbe
{
    private const string MustBeGiven = "Say what it was made with: InjectionOptions.Attention, or the argument of AdaptedAttention.From.";
    private readonly MultiheadAttention layer;
    private readonly AttentionWeights weights;
    private readonly long width;
    private readonly long keyWidth;
    private readonly long valueWidth;

    public AttentionProbe(MultiheadAttention layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        this.layer = layer;
        weights = AttentionWeights.Of(layer);
        width = weights.OutProjection.shape[0];
        keyWidth = weights.KeyProjection?.shape[1] ?? width;
        valueWidth = weights.ValueProjection?.shape[1] ?? width;
    }

    public AttentionTraits Traits()
    {
        if (keyWidth != valueWidth)
        {
            throw new NotSupportedException($"This attention has keys of width {keyWidth} and values of width {valueWidth}. libtorch's forward refuses every call of such a layer, so that its number of heads and its dropout cannot be seen. {MustBeGiven}");
        }

        bool training = layer.training;
        using var noGradients = no_grad();
        using var scope = NewDisposeScope();
        using RandomState random = new();
        try
        {
            layer.eval();
            AttentionTraits traits = WithHeads();
            layer.train();
            return traits with { Dropout = Dropout(traits, random) };
        }
        finally
        {
            layer.train(training);
        }
    }

    /// <summary>The number of heads whose attention weights are the layer's on queries and keys that tell.</summary>
    private AttentionTraits WithHeads()
    {
        AttentionInput input = new(Waves(4, width, weights.QueryProjection, 0), Waves(5, keyWidth, weights.KeyProjection, 1), Waves(5, valueWidth, weights.ValueProjection, 2), null, true, null);
        Tensor expected = Native(input);
        AttentionTraits traits = new()
        {
            EmbedDim = width,
            Heads = 1,
            KeyDim = keyWidth,
            ValueDim = valueWidth,
            HasBias = weights.InBias is not null,
            Dropout = 0,
            HasBiasKv = weights.LearntKey is not null,
            AddZeroAttention = expected.shape[2] > 5 + (weights.LearntKey is null ? 0 : 1),
        };
        AttentionTraits[] fitting = [.. Divisors().Select(heads => traits with { Heads = heads }).Where(candidate => Distance(Managed(input, candidate, training: false), expected) <= Precision())];
        return fitting switch
        {
            [] => throw new NotSupportedException("This attention does not compute what libtorch's MultiheadAttention computes, whatever its number of heads."),
            [var only] => only,
            _ => fitting.FirstOrDefault(candidate => candidate.Heads == HeadsInRefusal())
                ?? throw new NotSupportedException($"This attention's weights do not tell its number of heads, which may be {string.Join(", ", fitting.Select(candidate => candidate.Heads))}: its scores are the same for all of them."),
        };
    }

    /// <summary>
    /// Where queries or keys are all projected to the same vector, every number of heads gives the same answer. libtorch
    /// names the scores' shape, [heads, 1, keys], when it refuses a mask for two queries where there is one.
    /// </summary>
    private long? HeadsInRefusal()
    {
        try
        {
            Native(new(Zeros(1, width), Zeros(2, keyWidth), Zeros(2, valueWidth), null, true, Zeros(2, 2).squeeze(1)));
            return null;
        }
        catch (ExternalException refusal)
        {
            Match shape = ScoresShape().Match(refusal.Message);
            return shape.Success ? long.Parse(shape.Groups[1].Value, CultureInfo.InvariantCulture) : null;
        }
    }

    /// <summary>
    /// With all attention on one key, a head's attention weight is 1, or 0 or 1/(1 − p) in training. The average over
    /// the heads is a multiple of u = 1 / (heads·(1 − p)). The answer counts when it repeats what the layer dropped.
    /// </summary>
    private double Dropout(AttentionTraits traits, RandomState random)
    {
        for (int queries = 64; queries <= 4096; queries *= 4)
        {
            using var scope = NewDisposeScope();

            // The mask outweighs the scores of a learnt key and of a zero key, which it does not reach.
            Tensor mask = full([queries, 1], 1e4, weights.OutProjection.dtype, weights.OutProjection.device);
            AttentionInput input = new(Zeros(queries, width), Zeros(1, keyWidth), Zeros(1, valueWidth), null, true, mask);
            random.Restore();
            Tensor dropped = Native(input)[0, TensorIndex.Colon, 0].to(ScalarType.Float64).cpu();
            double[] averages = [.. dropped.data<double>()];
            if (averages.Max() == 0)
            {
                continue;
            }

            double p = Probability(averages, traits.Heads);
            if (p >= 0 && p < 1 && (p == 0 || Repeats(input, traits with { Dropout = p }, dropped, random)))
            {
                return p;
            }
        }

        using (NewDisposeScope())
        {
            AttentionInput input = new(Zeros(4096, width), Zeros(1, keyWidth), Zeros(1, valueWidth), null, true, null);
            return Native(input).abs().max().to(ScalarType.Float64).item<double>() == 0
                ? 1
                : throw new NotSupportedException($"The dropout of this attention cannot be seen in {weights.OutProjection.dtype} through the average of its {traits.Heads} heads. {MustBeGiven}");
        }
    }

    private double Probability(double[] averages, long heads)
    {
        double[] sorted = [.. averages.Order()];
        double resolution = 0.5 / heads;
        double[] steps = [.. sorted.Zip(sorted.Skip(1), (a, b) => b - a).Where(step => step > resolution)];
        if (steps.Length == 0)
        {
            // No head of any query was dropped.
            return Shortest(1 - (1 / averages.Average()));
        }

        double unit = steps.Min();
        double count = averages.Sum(average => Math.Round(average / unit));
        return Shortest(1 - (count / (heads * averages.Sum())));
    }

    private bool Repeats(AttentionInput input, AttentionTraits traits, Tensor dropped, RandomState random)
    {
        if (weights.OutProjection.device_type != DeviceType.CPU)
        {
            return true;
        }

        random.Restore();
        Tensor repeated = Managed(input, traits, training: true)[0, TensorIndex.Colon, 0].to(ScalarType.Float64);
        return Distance(repeated, dropped) < 0.25 / traits.Heads;
    }

    /// <summary>The shortest decimal that the layer's precision cannot tell from the value: what somebody wrote.</summary>
    private double Shortest(double value)
    {
        double tolerance = Precision() / 10;
        return Enumerable.Range(0, 15).Select(digits => Math.Round(value, digits)).FirstOrDefault(rounded => Math.Abs(rounded - value) <= tolerance, value);
    }

    private Tensor Native(AttentionInput input)
    {
        (Tensor _, Tensor attention) = layer.forward(input.Query, input.Key, input.Value, input.KeyPaddingMask!, input.NeedWeights, input.AttentionMask!);
        return attention;
    }

    private Tensor Managed(AttentionInput input, AttentionTraits traits, bool training) => AttentionForward.Run(input, weights, traits, training).Item2;

    private static double Distance(Tensor a, Tensor b) => (a - b).abs().max().to(ScalarType.Float64).item<double>();

    private double Precision() => weights.OutProjection.dtype switch
    {
        ScalarType.Float64 => 1e-10,
        ScalarType.Float32 => 1e-5,
        ScalarType.Float16 => 1e-2,
        _ => 5e-2,
    };

    private IEnumerable<long> Divisors() => Enumerable.Range(1, (int)width).Select(divisor => (long)divisor).Where(divisor => width % divisor == 0);

    private Tensor Zeros(long length, long features) => zeros([length, 1, features], weights.OutProjection.dtype, weights.OutProjection.device);

    /// <summary>Unlike vectors, of a size that their projections have about the size 3; [length, 1, features].</summary>
    private Tensor Waves(long length, long features, Tensor? projection, int part)
    {
        projection ??= weights.InProjection!.chunk(3, 0)[part];
        Tensor waves = arange(length * features, ScalarType.Float64).add_(part + 1).mul_(1.7).pow_(2).sin_().view(length, 1, features).to(projection.device);
        double size = nn.functional.linear(waves, projection.to(ScalarType.Float64)).square().mean().sqrt().item<double>();
        return (waves * Math.Min(3 / size, 1e3)).to(projection.dtype);
    }

    [GeneratedRegex(@"\[(\d+), 1, \d+\]")]
    private static partial Regex ScoresShape();
}
