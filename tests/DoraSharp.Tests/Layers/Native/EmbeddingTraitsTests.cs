using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

public class EmbeddingTraitsTests
{
    public static TheoryData<long?, double?, double, bool, bool> Options => new()
    {
        { null, null, 2, false, false },
        { 0, null, 2, false, false },
        { 5, null, 2, true, false },
        { 10, null, 2, false, true },
        { 1, 1.5, 2, false, false },
        { null, 0.25, 1, true, false },
        { 10, 3, 2.5, false, true },
        { 9, 0.0009765625, double.PositiveInfinity, true, false },
        { null, 1e6, 3, false, false },
        { null, 7, 0.5, false, false },
        { null, 2, 50, false, false },
    };

    [Theory]
    [MemberData(nameof(Options))]
    public void Of_LayerOfAnyOptions_FindsThemAndLeavesTheLayerAlone(long? padding, double? maxNorm, double normType, bool byFrequency, bool sparse)
    {
        using var scope = NewDisposeScope();
        foreach (ScalarType dtype in new[] { ScalarType.Float32, ScalarType.Float64, ScalarType.BFloat16, ScalarType.Float16 })
        {
            using Embedding layer = nn.Embedding(11, 6, padding, maxNorm, normType, byFrequency, sparse, dtype: dtype);
            ModuleSnapshot before = new(layer);
            nint native = AddressOfNative(layer);

            EmbeddingTraits.Of(layer).Should().Be(new EmbeddingTraits(padding, maxNorm, normType, byFrequency, sparse));

            before.ShouldBeUnchanged();
            AddressOfNative(layer).Should().Be(native);
        }
    }

    [Theory]
    [InlineData(1, 0L)]
    [InlineData(1, null)]
    [InlineData(2, 0L)]
    [InlineData(2, 1L)]
    [InlineData(5000, 4321L)]
    public void Of_AnyNumberOfRows_FindsThePadding(long rows, long? padding)
    {
        using Embedding layer = nn.Embedding(rows, 3, padding, max_norm: 2);
        EmbeddingTraits.Of(layer).Should().Be(new EmbeddingTraits(padding, 2, 2, false, false));
    }

    [Fact]
    public void Of_MaxNormWithoutShortDecimal_IsFoundInSinglePrecision()
    {
        using Embedding layer = nn.Embedding(7, 5, max_norm: 0.1, norm_type: 2.3);
        EmbeddingTraits traits = EmbeddingTraits.Of(layer);
        traits.MaxNorm.Should().Be(0.1f);
        traits.NormType.Should().Be(2.3f);
    }

    [Fact]
    public void Of_CallerWithoutGradients_FindsThePadding()
    {
        using Embedding layer = nn.Embedding(9, 4, padding_idx: 3, scale_grad_by_freq: true);
        EmbeddingTraits expected = new(3, null, 2, true, false);
        using (no_grad())
        {
            EmbeddingTraits.Of(layer).Should().Be(expected);
            is_grad_enabled().Should().BeFalse();
        }

        using (inference_mode())
        {
            EmbeddingTraits.Of(layer).Should().Be(expected);
            is_inference_mode_enabled().Should().BeTrue();
        }
    }

    [Fact]
    public void Of_LayerMadeInInferenceMode_FindsItsOptions()
    {
        using IDisposable inference = inference_mode();
        using Embedding layer = nn.Embedding(9, 4, padding_idx: 3, max_norm: 1.25);
        EmbeddingTraits.Of(layer).Should().Be(new EmbeddingTraits(3, 1.25, 2, false, false));
    }

    [Fact]
    public void Of_LayerOfGivenRows_FindsItsOptions()
    {
        using var scope = NewDisposeScope();
        Tensor rows = arange(24, ScalarType.Float32).view(8, 3).clone();
        using Embedding layer = nn.Embedding_from_pretrained(rows.clone(), freeze: true, padding_idx: 6, max_norm: 4);
        EmbeddingTraits.Of(layer).Should().Be(new EmbeddingTraits(6, 4, 2, false, false));
        using Parameter weight = layer.weight!;
        Reference.SameBits(weight, rows).Should().BeTrue();
        weight.requires_grad.Should().BeFalse();
    }

    [Fact]
    public void Of_EmptyLayer_HasNoTraits()
    {
        using Embedding layer = nn.Embedding(0, 4);
        EmbeddingTraits.Of(layer).Should().Be(new EmbeddingTraits(null, null, 2, false, false));
    }

    [Theory]
    [InlineData(0, 0.5)]
    [InlineData(0, 1.5)]
    [InlineData(-1, 1)]
    [InlineData(double.NegativeInfinity, 1)]
    public void Of_NormThatIsNone_IsRefused(double normType, double maxNorm)
    {
        using Embedding layer = nn.Embedding(7, 4, max_norm: maxNorm, norm_type: normType);
        Action act = () => EmbeddingTraits.Of(layer);
        act.Should().Throw<NotSupportedException>().WithMessage("*norm_type*");
    }

    [Fact]
    public void Of_SparseGradientsByFrequency_IsRefusedAndTheLayerLeftAlone()
    {
        using var scope = NewDisposeScope();
        using Embedding layer = nn.Embedding(7, 4, padding_idx: 1, scale_grad_by_freq: true, sparse: true);
        ModuleSnapshot before = new(layer);
        nint native = AddressOfNative(layer);
        Action act = () => EmbeddingTraits.Of(layer);
        act.Should().Throw<NotSupportedException>().WithMessage("*sparse*scale_grad_by_freq*");
        before.ShouldBeUnchanged();
        AddressOfNative(layer).Should().Be(native);
    }

    [Fact]
    public void Of_ManyTimes_LeavesNoTensors()
    {
        using Embedding layer = nn.Embedding(30, 8, padding_idx: 3, max_norm: 1);
        using Embedding refused = nn.Embedding(7, 4, scale_grad_by_freq: true, sparse: true);
        EmbeddingTraits.Of(layer);
        long before = LiveTensors.Count;
        for (int i = 0; i < 5; i++)
        {
            EmbeddingTraits.Of(layer);
            Action act = () => EmbeddingTraits.Of(refused);
            act.Should().Throw<NotSupportedException>();
        }

        LiveTensors.Count.Should().Be(before);
    }

    private static nint AddressOfNative(Embedding layer)
    {
        using Parameter weight = layer.weight!;
        return TensorMemory.Address(weight);
    }
}
