using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

public class AttentionForwardTests
{
    /// <summary>Which tensors a call shares: all three, key and value, or none.</summary>
    public enum Sharing
    {
        Self,
        Memory,
        None,
    }

    public static TheoryData<ScalarType, bool, bool, bool, bool, Sharing> Layers
    {
        get
        {
            TheoryData<ScalarType, bool, bool, bool, bool, Sharing> data = [];
            foreach (ScalarType dtype in new[] { ScalarType.Float32, ScalarType.Float64 })
            {
                foreach (int options in Enumerable.Range(0, 16))
                {
                    data.Add(dtype, (options & 1) > 0, (options & 2) > 0, (options & 4) > 0, (options & 8) > 0, (Sharing)((options + (options / 3)) % 3));
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Layers))]
    public void Run_AnyOptionsAndMasks_GivesTheNativeOutputsAndGradients(ScalarType dtype, bool bias, bool biasKv, bool zeroAttention, bool otherWidths, Sharing sharing)
    {
        Random random = new((bias ? 1 : 0) + (biasKv ? 2 : 0) + (zeroAttention ? 4 : 0) + (otherWidths ? 8 : 0) + (16 * (int)sharing));
        foreach (int round in Enumerable.Range(0, 12))
        {
            using var scope = NewDisposeScope();
            long heads = random.Next(1, 5);
            long width = heads * random.Next(1, 7);
            long keyWidth = otherWidths && sharing != Sharing.Self ? random.Next(1, 9) : width;
            (long t, long s, long n) = (random.Next(1, 7), random.Next(1, 8), random.Next(1, 4));
            s = sharing == Sharing.Self ? t : s;
            using MultiheadAttention layer = nn.MultiheadAttention(width, heads, round % 3 == 0 ? 0.4 : 0, bias, biasKv, zeroAttention, keyWidth, keyWidth);
            layer.to(dtype).train(round % 2 == 0);
            using (no_grad())
            {
                foreach ((_, Parameter parameter) in layer.named_parameters())
                {
                    parameter.copy_(Normal([.. parameter.shape], dtype, random) * 0.6);
                }
            }

            AttentionTraits traits = AttentionTraits.Of(layer);
            Tensor query = Normal([t, n, width], dtype, random).requires_grad_(true);
            Tensor key = sharing == Sharing.Self ? query : Normal([s, n, keyWidth], dtype, random).requires_grad_(true);
            Tensor value = sharing != Sharing.None ? key : Normal([s, n, keyWidth], dtype, random).requires_grad_(true);
            Tensor? padding = random.Next(2) == 0 ? null : Normal([n, s], dtype, random).gt(0.8);
            Tensor? mask = random.Next(4) switch
            {
                0 => null,
                1 => Normal([t, s], dtype, random).gt(0),
                2 => Normal([t, s], ScalarType.Float64, random),
                _ => Normal([t, s], dtype, random).masked_fill(Normal([t, s], dtype, random).gt(1.5), double.NegativeInfinity),
            };
            AttentionInput input = new(query, key, value, padding, round % 4 != 3, mask);
            Tensor[] leaves = [.. new[] { query, key, value }.Distinct(), .. layer.parameters()];
            Tensor dy = Normal([t, n, width], dtype, random);
            Tensor dw = Normal([n, t, s + (biasKv ? 1 : 0) + (zeroAttention ? 1 : 0)], dtype, random);

            manual_seed(round);
            (Tensor expected, Tensor expectedWeights) = layer.forward(query, key, value, padding!, input.NeedWeights, mask!);
            Tensor?[] expectedGradients = Gradients(expected, expectedWeights);
            manual_seed(round);
            (Tensor actual, Tensor actualWeights) = AttentionForward.Run(input, AttentionWeights.Of(layer), traits, layer.training);
            Tensor?[] gradients = Gradients(actual, actualWeights);

            double tolerance = dtype == ScalarType.Float64 ? 1e-14 : 2e-6;
            actual.dtype.Should().Be(dtype);
            Compare(actual, expected);
            actualWeights.IsInvalid.Should().Be(!input.NeedWeights);
            if (input.NeedWeights)
            {
                Compare(actualWeights, expectedWeights);
            }

            foreach ((Tensor? gradient, Tensor? native) in gradients.Zip(expectedGradients))
            {
                (gradient is null).Should().Be(native is null);
                if (native is not null)
                {
                    Compare(gradient!, native);
                }
            }

            Tensor?[] Gradients(Tensor output, Tensor attention)
            {
                foreach (Tensor leaf in leaves)
                {
                    leaf.grad = null;
                }

                Tensor loss = (output * dy).sum();
                (attention.IsInvalid ? loss : loss + (attention * dw).sum()).backward();
                return [.. leaves.Select(leaf => leaf.grad?.clone())];
            }

            void Compare(Tensor a, Tensor e)
            {
                // A query that may attend to nothing gives NaN in both.
                Tensor known = e.isfinite();
                Reference.SameBits(a.isfinite(), known).Should().BeTrue();
                Scaled(a[known], e[known]).Should().BeLessThan(tolerance);
            }
        }

        // Gradients that are zero but for rounding would have any relative error.
        static double Scaled(Tensor a, Tensor e) =>
            (a.detach() - e.detach()).to(ScalarType.Float64).norm().item<double>() / (1e-2 + e.detach().to(ScalarType.Float64).norm().item<double>());
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16)]
    public void Run_SelfAttention_GivesTheNativeBits(ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(48, 6, 0.2);
        layer.to(dtype);
        Tensor x = Normal([9, 3, 48], dtype, new(1));
        manual_seed(4);
        (Tensor expected, Tensor expectedWeights) = layer.forward(x, x, x, null!, true, null!);
        manual_seed(4);
        (Tensor actual, Tensor actualWeights) = AttentionForward.Run(new(x, x, x, null, true, null), AttentionWeights.Of(layer), AttentionTraits.Of(layer), training: true);
        Reference.SameBits(actual, expected).Should().BeTrue();
        Reference.SameBits(actualWeights, expectedWeights).Should().BeTrue();
    }

    [Fact]
    public void Run_WhatLibtorchRefuses_FollowsTheDefinition()
    {
        using var scope = NewDisposeScope();
        Random random = new(8);
        (long t, long s, long n, long heads, long width) = (4, 5, 2, 3, 12);
        using MultiheadAttention layer = nn.MultiheadAttention(width, heads, kdim: 7, vdim: 4);
        layer.to(ScalarType.Float64);
        AttentionWeights weights = AttentionWeights.Of(layer);
        AttentionTraits traits = new() { EmbedDim = width, Heads = heads, KeyDim = 7, ValueDim = 4, HasBias = true, Dropout = 0, HasBiasKv = false, AddZeroAttention = false };
        Tensor query = Normal([t, n, width], ScalarType.Float64, random);
        Tensor key = Normal([s, n, 7], ScalarType.Float64, random);
        Tensor value = Normal([s, n, 4], ScalarType.Float64, random);
        Tensor mask = Normal([n * heads, t, s], ScalarType.Float64, random);

        (Tensor output, Tensor attention) = AttentionForward.Run(new(query, key, value, null, true, mask), weights, traits, training: true);

        Tensor averages = zeros([n, t, s], ScalarType.Float64);
        for (long b = 0; b < n; b++)
        {
            List<Tensor> contexts = [];
            for (long h = 0; h < heads; h++)
            {
                Tensor Project(Tensor x, Tensor w, long part) =>
                    x[TensorIndex.Colon, b].matmul(w.narrow(0, h * 4, 4).t()) + weights.InBias!.narrow(0, (part * width) + (h * 4), 4);
                Tensor scores = (Project(query, weights.QueryProjection!, 0).matmul(Project(key, weights.KeyProjection!, 1).t()) / 2) + mask[(b * heads) + h];
                Tensor exponentials = scores.exp();
                Tensor a = exponentials / exponentials.sum(dim: 1, keepdim: true);
                averages[b] += a / heads;
                contexts.Add(a.matmul(Project(value, weights.ValueProjection!, 2)));
            }

            Tensor expected = cat(contexts, 1).matmul(weights.OutProjection.t()) + weights.OutBias!;
            Reference.RelativeError(output[TensorIndex.Colon, b], expected).Should().BeLessThan(1e-14);
        }

        Reference.RelativeError(attention, averages).Should().BeLessThan(1e-14);
    }

    [Theory]
    [InlineData("mha_lora", 2)]
    [InlineData("mha_lora_seqfirst_nobias", 3)]
    [InlineData("mha_lora_kdim_vdim", 2)]
    [InlineData("mha_dora", 3)]
    [InlineData("mha_two_lora_active", 2)]
    public void Run_GoldenCase_GivesTheOutputsOfBaseAndMergedWeights(string name, long heads)
    {
        using var scope = NewDisposeScope();
        string folder = SharedFolder.Require("fixtures", "peft", name);
        using SafetensorsReader io = SafetensorsReader.Open(Path.Combine(folder, "io.safetensors"));
        using SafetensorsReader tensors = SafetensorsReader.Open(Path.Combine(folder, "base.safetensors"));
        bool batchFirst = !name.Contains("seqfirst", StringComparison.Ordinal);
        AttentionInput input = new(Read("query"), Read("key"), Read("value"), null, false, null);
        AttentionTraits traits = new()
        {
            EmbedDim = input.Query.shape[2],
            Heads = heads,
            KeyDim = input.Key.shape[2],
            ValueDim = input.Value.shape[2],
            HasBias = tensors.TryGetEntry("mha.in_proj_bias", out _),
            Dropout = 0,
            HasBiasKv = false,
            AddZeroAttention = false,
        };
        Reference.MaxRelativeError(Run(part => Optional(tensors, $"mha.{part}")), Read("y.base")).Should().BeLessThan(1e-6);
        Reference.MaxRelativeError(Run(part => Optional(io, $"merged.mha.{part}") ?? Optional(tensors, $"mha.{part}")), Read("y")).Should().BeLessThan(2e-6);

        Tensor Run(Func<string, Tensor?> parameter) => AttentionForward.Run(
            input,
            new()
            {
                InProjection = parameter("in_proj_weight"),
                QueryProjection = parameter("q_proj_weight"),
                KeyProjection = parameter("k_proj_weight"),
                ValueProjection = parameter("v_proj_weight"),
                InBias = parameter("in_proj_bias"),
                OutProjection = parameter("out_proj.weight")!,
                OutBias = parameter("out_proj.bias"),
            },
            traits,
            training: true).Item1;

        Tensor Read(string key) => batchFirst ? io.Read(key).transpose(0, 1) : io.Read(key);

        static Tensor? Optional(SafetensorsReader reader, string key) => reader.TryGetEntry(key, out _) ? reader.Read(key) : null;
    }

    [Fact]
    public void Run_PaddingInHalfPrecision_LeavesThePaddedKeysOut()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(16, 4, add_zero_attn: true);
        layer.to(ScalarType.BFloat16);
        Tensor query = Normal([3, 1, 16], ScalarType.BFloat16, new(2));
        Tensor key = Normal([5, 1, 16], ScalarType.BFloat16, new(3));
        Tensor padding = tensor(new[] { false, false, false, true, true }).unsqueeze(0);
        AttentionWeights weights = AttentionWeights.Of(layer);
        AttentionTraits traits = AttentionTraits.Of(layer);

        (Tensor actual, Tensor attention) = AttentionForward.Run(new(query, key, key, padding, true, null), weights, traits, training: false);

        Tensor left = key.narrow(0, 0, 3);
        (Tensor expected, Tensor _) = layer.forward(query, left, left, null!, true, null!);
        Reference.RelativeError(actual, expected).Should().BeLessThan(0.01);
        attention[0, TensorIndex.Colon, 3..5].abs().max().to(ScalarType.Float64).item<double>().Should().Be(0);
    }

    [Fact]
    public void Run_SubstitutedWeights_GiveGradientsToTheirFactors()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3);
        layer.to(ScalarType.Float64);
        AttentionWeights own = AttentionWeights.Of(layer);
        AttentionTraits traits = AttentionTraits.Of(layer);
        Tensor a = Normal([2, 12], ScalarType.Float64, new(5)).requires_grad_(true);
        Tensor b = Normal([36, 2], ScalarType.Float64, new(6)).requires_grad_(true);
        Tensor x = Normal([4, 2, 12], ScalarType.Float64, new(7));
        Tensor dy = Normal([4, 2, 12], ScalarType.Float64, new(8));
        Tensor effective = own.InProjection!.detach() + b.matmul(a);
        (AttentionForward.Run(new(x, x, x, null, false, null), own with { InProjection = effective }, traits, training: true).Item1 * dy).sum().backward();

        using MultiheadAttention merged = nn.MultiheadAttention(12, 3);
        merged.to(ScalarType.Float64);
        merged.load_state_dict(layer.state_dict());
        using (no_grad())
        {
            merged.get_parameter("in_proj_weight")!.copy_(effective);
        }

        (merged.forward(x, x, x, null!, false, null!).Item1 * dy).sum().backward();
        Tensor gradient = merged.get_parameter("in_proj_weight")!.grad!;
        Reference.RelativeError(a.grad!, b.detach().t().matmul(gradient)).Should().BeLessThan(1e-13);
        Reference.RelativeError(b.grad!, gradient.matmul(a.detach().t())).Should().BeLessThan(1e-13);
        layer.get_parameter("in_proj_weight")!.grad.Should().BeNull();
    }

    [Fact]
    public void Run_ShapesThatDoNotFit_AreRefusedByName()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3);
        AttentionWeights weights = AttentionWeights.Of(layer);
        AttentionTraits traits = AttentionTraits.Of(layer);
        Tensor q = zeros(4, 2, 12);
        Tensor k = zeros(5, 2, 12);
        AttentionInput right = new(q, k, k, null, false, null);
        Refuse(right with { Query = zeros(4, 12) }, "Query must be [[]T, N, 12[]]; it is [[]4, 12[]]*");
        Refuse(right with { Query = zeros(4, 2, 10) }, "Query*12*");
        Refuse(right with { Key = zeros(5, 4, 12) }, "Key must be [[]S, 2, 12[]]*");
        Refuse(right with { Key = zeros(5, 2, 13) }, "Key*");
        Refuse(right with { Value = zeros(6, 2, 12) }, "Value must be [[]5, 2, 12[]]*");
        Refuse(right with { KeyPaddingMask = zeros([2, 4], ScalarType.Bool) }, "KeyPaddingMask must be [[]2, 5[]]*");
        Refuse(right with { KeyPaddingMask = zeros(2, 5) }, "KeyPaddingMask must be a bool tensor*");
        Refuse(right with { AttentionMask = zeros(5, 4) }, "AttentionMask must be [[]4, 5[]]*");
        Refuse(right with { AttentionMask = zeros(2, 4, 5) }, "AttentionMask must be [[]6, 4, 5[]]*");

        void Refuse(AttentionInput input, string message)
        {
            Action act = () => AttentionForward.Run(input, weights, traits, training: false);
            act.Should().Throw<ArgumentException>().WithMessage(message.Replace("[[]", "[", StringComparison.Ordinal).Replace("[]]", "]", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Run_InTrainingAndRefused_LeavesNoTensors()
    {
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3, 0.1, add_bias_kv: true, add_zero_attn: true);
        AttentionWeights weights = AttentionWeights.Of(layer);
        AttentionTraits traits = AttentionTraits.Of(layer);
        using Tensor x = Normal([4, 2, 12], ScalarType.Float32, new(1));
        using Tensor mask = zeros(4, 4);
        using Tensor padding = zeros([2, 4], ScalarType.Bool);
        Step();
        long before = LiveTensors.Count;
        for (int i = 0; i < 5; i++)
        {
            Step();
        }

        LiveTensors.Count.Should().Be(before);

        void Step()
        {
            (Tensor output, Tensor attention) = AttentionForward.Run(new(x, x, x, padding, true, mask), weights, traits, training: true);
            (Tensor other, Tensor none) = AttentionForward.Run(new(x, x, x, padding, false, mask), weights, traits, training: true);
            none.IsInvalid.Should().BeTrue();
            using Tensor loss = output.sum();
            loss.backward();
            output.Dispose();
            attention.Dispose();
            other.Dispose();
            Action refused = () => AttentionForward.Run(new(x, x, x, padding, true, padding), weights, traits, training: true);
            refused.Should().Throw<ArgumentException>();
        }
    }

    private static Tensor Normal(long[] shape, ScalarType dtype, Random random)
    {
        using var scope = NewDisposeScope();
        using Generator generator = new((ulong)random.Next());
        return randn(shape, ScalarType.Float64, generator: generator).to(dtype).MoveToOuterDisposeScope();
    }
}
