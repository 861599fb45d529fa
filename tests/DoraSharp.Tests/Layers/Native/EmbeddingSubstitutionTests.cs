using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Native;

public class EmbeddingSubstitutionTests
{
    [Fact]
    public void Forward_SubstituteWithHistory_RunsOnItAndGivesItsFactorsTheirGradients()
    {
        using var scope = NewDisposeScope();
        using Embedding layer = nn.Embedding(11, 5, padding_idx: 3, dtype: ScalarType.Float64);
        ModuleSnapshot before = new(layer);
        Tensor ids = tensor(new long[] { 3, 1, 1, 9, 3 });
        Tensor a = rand([2, 11], ScalarType.Float64, generator: new(1)).requires_grad_(true);
        Tensor b = rand([5, 2], ScalarType.Float64, generator: new(2)).requires_grad_(true);
        Tensor effective = layer.get_parameter("weight")!.detach() + b.matmul(a).t();
        Tensor output;
        using (new EmbeddingSubstitution(layer, effective))
        {
            output = layer.forward(ids);
            layer.get_parameter("weight").Should().NotBeSameAs(effective);
        }

        before.ShouldBeUnchanged();
        Reference.SameBits(output, effective.index_select(0, ids)).Should().BeTrue();
        Reference.SameBits(layer.forward(ids), layer.get_parameter("weight")!.index_select(0, ids)).Should().BeTrue();

        output.sum().backward();
        Tensor counts = zeros([11], ScalarType.Float64);
        counts[1] = 2;
        counts[9] = 1;
        Reference.RelativeError(a.grad!, b.detach().sum(dim: 0).unsqueeze(1) * counts).Should().BeLessThan(1e-15);
        Reference.RelativeError(b.grad!, a.detach().matmul(counts).expand(5, 2)).Should().BeLessThan(1e-15);
        layer.get_parameter("weight")!.grad.Should().BeNull();
    }

    [Fact]
    public void Forward_SubstituteOfAnotherDtype_IsGivenBackTheOwnWeight()
    {
        using var scope = NewDisposeScope();
        using Embedding layer = nn.Embedding(11, 5, dtype: ScalarType.BFloat16);
        ModuleSnapshot before = new(layer);
        using (new EmbeddingSubstitution(layer, ones([11, 2], ScalarType.Float64)))
        {
            layer.forward(tensor(new long[] { 2 })).shape.Should().Equal(1, 2);
        }

        before.ShouldBeUnchanged();
        layer.forward(tensor(new long[] { 2 })).dtype.Should().Be(ScalarType.BFloat16);
    }

    [Fact]
    public void Forward_ThatThrows_IsGivenBackTheOwnWeight()
    {
        using var scope = NewDisposeScope();
        using Embedding layer = nn.Embedding(11, 5);
        ModuleSnapshot before = new(layer);
        Action act = () =>
        {
            using EmbeddingSubstitution substitution = new(layer, zeros(3, 5));
            layer.forward(tensor(new long[] { 8 }));
        };
        act.Should().Throw<Exception>();
        before.ShouldBeUnchanged();
        layer.forward(tensor(new long[] { 8 })).shape.Should().Equal(1, 5);
    }

    [Fact]
    public void Substitute_ManyTimes_LeavesNoTensors()
    {
        using Embedding layer = nn.Embedding(11, 5);
        using Tensor substitute = zeros(11, 5);
        long before = LiveTensors.Count;
        for (int i = 0; i < 10; i++)
        {
            using EmbeddingSubstitution substitution = new(layer, substitute);
        }

        LiveTensors.Count.Should().Be(before);
    }
}
