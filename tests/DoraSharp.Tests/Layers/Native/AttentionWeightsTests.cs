using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

/// <summary>What the library takes for granted of the parameters of TorchSharp's native attention.</summary>
public class AttentionWeightsTests
{
    [Fact]
    public void NamedParameters_AnyOptions_AreLibtorchsNamesOnTheLayerItself()
    {
        using MultiheadAttention fused = nn.MultiheadAttention(12, 3, add_bias_kv: true);
        fused.named_parameters().Select(p => p.name).Should().Equal("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias");
        fused.named_modules().Should().BeEmpty();
        using MultiheadAttention separate = nn.MultiheadAttention(12, 3, bias: false, kdim: 5, vdim: 5);
        separate.named_parameters().Select(p => p.name).Should().Equal("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight");

        AttentionWeights weights = AttentionWeights.Of(separate);
        weights.KeyProjection.Should().BeSameAs(separate.get_parameter("k_proj_weight"));
        weights.InProjection.Should().BeNull();
        weights.OutBias.Should().BeNull();
        AttentionWeights.Of(fused).LearntKey!.shape.Should().Equal(1, 1, 12);
    }

    [Fact]
    public void To_OtherDtype_KeepsTheObjectsAndTheNativeLayerFollowsThem()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3);
        Parameter[] before = [.. layer.parameters()];
        layer.to(ScalarType.Float64);
        layer.parameters().Should().Equal(before, (a, b) => ReferenceEquals(a, b));
        layer.get_parameter("out_proj.weight")!.dtype.Should().Be(ScalarType.Float64);
        ShouldRunOnItsParameters(layer);
    }

    [Fact]
    public void To_OtherDtypeWithGradients_MakesNewObjectsAndTheNativeLayerFollowsThem()
    {
        using var scope = NewDisposeScope();
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3);
        Tensor x = rand([4, 2, 12], generator: new(1));
        layer.forward(x, x, x, null!, false, null!).Item1.sum().backward();
        Parameter before = layer.get_parameter("in_proj_weight")!;
        layer.to(ScalarType.Float64);
        layer.get_parameter("in_proj_weight").Should().NotBeSameAs(before);
        before.IsInvalid.Should().BeTrue();
        layer.get_parameter("in_proj_weight")!.grad!.dtype.Should().Be(ScalarType.Float64);
        ShouldRunOnItsParameters(layer);
    }

    [Fact]
    public void StateDict_SavedAndLoaded_ReachesTheNativeLayer()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using MultiheadAttention layer = nn.MultiheadAttention(12, 3, add_bias_kv: true);
        using MultiheadAttention loaded = nn.MultiheadAttention(12, 3, add_bias_kv: true);
        using MultiheadAttention read = nn.MultiheadAttention(12, 3, add_bias_kv: true);
        loaded.load_state_dict(layer.state_dict());
        string file = Path.Combine(folder.Path, "attention.dat");
        layer.save(file);
        read.load(file);
        Tensor x = rand([4, 2, 12], generator: new(1));
        Tensor expected = layer.forward(x, x, x, null!, false, null!).Item1;
        Reference.SameBits(loaded.forward(x, x, x, null!, false, null!).Item1, expected).Should().BeTrue();
        Reference.SameBits(read.forward(x, x, x, null!, false, null!).Item1, expected).Should().BeTrue();
    }

    private static void ShouldRunOnItsParameters(MultiheadAttention layer)
    {
        Tensor x = rand([4, 2, 12], ScalarType.Float64, generator: new(2));
        foreach ((string name, Parameter parameter) in layer.named_parameters())
        {
            Tensor before = layer.forward(x, x, x, null!, false, null!).Item1;
            using (no_grad())
            {
                parameter.add_(rand(parameter.shape, ScalarType.Float64, generator: new(3)));
            }

            Reference.SameBits(layer.forward(x, x, x, null!, false, null!).Item1, before).Should().BeFalse(name);
        }

        layer.zero_grad();
        layer.forward(x, x, x, null!, false, null!).Item1.square().sum().backward();
        layer.parameters().Should().AllSatisfy(parameter => parameter.grad.Should().NotBeNull());
    }
}
