using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

public class AttentionTraitsTests
{
    [Theory]
    [InlineData(12, 3, 0.1, true, false, false, null)]
    [InlineData(12, 1, 0, false, true, false, null)]
    [InlineData(12, 12, 0.25, true, false, true, null)]
    [InlineData(60, 5, 0, true, true, true, 20L)]
    [InlineData(96, 8, 0.15, false, false, false, 40L)]
    [InlineData(96, 6, 0.9, true, true, true, null)]
    [InlineData(24, 4, 1, true, false, true, null)]
    public void Of_LayerOfAnyOptions_FindsThemAndLeavesTheLayerAlone(long width, long heads, double dropout, bool bias, bool biasKv, bool zeroAttention, long? keyWidth)
    {
        foreach (ScalarType dtype in new[] { ScalarType.Float32, ScalarType.Float64, ScalarType.BFloat16, ScalarType.Float16 })
        {
            foreach (bool training in new[] { true, false })
            {
                using var scope = NewDisposeScope();
                using MultiheadAttention layer = nn.MultiheadAttention(width, heads, dropout, bias, biasKv, zeroAttention, keyWidth, keyWidth);
                layer.to(dtype).train(training);
                ModuleSnapshot before = new(layer);

                AttentionTraits.Of(layer).Should().Be(new AttentionTraits
                {
                    EmbedDim = width,
                    Heads = heads,
                    KeyDim = keyWidth ?? width,
                    ValueDim = keyWidth ?? width,
                    HasBias = bias,
                    Dropout = dropout,
                    HasBiasKv = biasKv,
                    AddZeroAttention = zeroAttention,
                });

                before.ShouldBeUnchanged();
            }
        }
    }

    [Theory]
    [InlineData(0.123456)]
    [InlineData(0.001)]
    [InlineData(0.9999)]
    public void Of_UnusualDropout_IsFoundExactly(double dropout)
    {
        // Of 0.9999 the 16,384 draws that the probe may take keep one or two, or none by bad luck.
        manual_seed(7);
        using MultiheadAttention layer = nn.MultiheadAttention(32, 4, dropout);
        AttentionTraits.Of(layer).Dropout.Should().Be(dropout);
    }

    [Fact]
    public void Of_LayerWhoseScoresAreAllEqual_FindsTheHeads()
    {
        using MultiheadAttention layer = nn.MultiheadAttention(24, 6, add_bias_kv: true, add_zero_attn: true);
        using (no_grad())
        {
            layer.get_parameter("in_proj_weight")!.zero_();
        }

        AttentionTraits.Of(layer).Heads.Should().Be(6);
    }

    [Theory]
    [InlineData(1e-6)]
    [InlineData(1e4)]
    public void Of_LayerOfUnusualScale_FindsTheHeads(double scale)
    {
        using MultiheadAttention layer = nn.MultiheadAttention(40, 5, 0.5);
        using (no_grad())
        {
            layer.get_parameter("in_proj_weight")!.mul_(scale);
        }

        AttentionTraits traits = AttentionTraits.Of(layer);
        traits.Heads.Should().Be(5);
        traits.Dropout.Should().Be(0.5);
    }

    [Fact]
    public void Of_CallerInInferenceMode_FindsTheOptions()
    {
        using MultiheadAttention layer = nn.MultiheadAttention(20, 4, 0.2);
        using IDisposable inference = inference_mode();
        AttentionTraits traits = AttentionTraits.Of(layer);
        traits.Heads.Should().Be(4);
        traits.Dropout.Should().Be(0.2);
    }

    [Fact]
    public void Of_KeysAndValuesOfUnequalWidths_IsRefusedAsByTheLayer()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3, kdim: 5, vdim: 7);
        Action native = () => layer.forward(zeros(2, 1, 12), zeros(3, 1, 5), zeros(3, 1, 7), null!, true, null!);
        native.Should().Throw<Exception>("or else the refusal is no longer needed");
        Action act = () => AttentionTraits.Of(layer);
        act.Should().Throw<NotSupportedException>().WithMessage("*5*7*InjectionOptions.Attention*");
    }

    [Fact]
    public void Of_ManyTimes_LeavesNoTensors()
    {
        using MultiheadAttention layer = nn.MultiheadAttention(24, 4, 0.3, add_bias_kv: true);
        AttentionTraits.Of(layer);
        long before = LiveTensors.Count;
        for (int i = 0; i < 5; i++)
        {
            AttentionTraits.Of(layer);
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void New_HeadsThatDoNotDivide_AreRefused()
    {
        Action act = () => _ = new AttentionTraits { EmbedDim = 12, Heads = 5, KeyDim = 12, ValueDim = 12, HasBias = true, Dropout = 0, HasBiasKv = false, AddZeroAttention = false };
        act.Should().Throw<ArgumentOutOfRangeException>().WithMessage("*divide*12*");
    }
}
