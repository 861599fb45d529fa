using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Numerics;

public class VersionedCacheTests
{
    public static TheoryData<string> WaysToChange() => ["optimizer", "no_grad", "copy", "load_state_dict", "to", "binary load", "new weight", "merge", "unmerge", "zero_"];

    [Theory]
    [MemberData(nameof(WaysToChange))]
    public void Norm_AfterAnyChange_IsNeverStale(string way)
    {
        using var scope = NewDisposeScope();
        manual_seed(31);
        using DoraLinear layer = new(37, 53, new() { Rank = 4 });
        Reference.Disturb(layer.Adapters);
        Tensor x = randn(5, 37);
        layer.call(x).sum().backward();
        LoraAdapter adapter = (LoraAdapter)layer.Adapters["default"];

        Change(way, layer, adapter);

        Tensor input = x.to(layer.BaseLayer.weight.dtype);
        ReferenceAdapter[] active = layer.Adapters.IsMerged ? [] : [Reference.Copy(adapter)];
        Tensor weight = Reference.EffectiveWeight(layer.BaseLayer.weight.to(ScalarType.Float64), active);
        Tensor expected = input.to(ScalarType.Float64).matmul(weight.t()) + layer.BaseLayer.bias!.to(ScalarType.Float64);
        Reference.RelativeError(layer.call(input), expected).Should().BeLessThan(1e-5);
    }

    [Fact]
    public void GetOrCompute_NothingChanged_ComputesOnce()
    {
        using var scope = NewDisposeScope();
        using VersionedCache cache = new();
        Tensor source = ones(3);
        int computed = 0;
        Tensor Compute()
        {
            computed++;
            return source * 2;
        }

        cache.GetOrCompute([source], Compute);
        cache.GetOrCompute([source], Compute);
        int unchanged = computed;
        source.add_(1);
        Tensor value = cache.GetOrCompute([source], Compute);

        unchanged.Should().Be(TensorVersions.AreReadable ? 1 : 2);
        value[0].item<float>().Should().Be(4);
    }

    [Fact]
    public void GetOrCompute_InferenceTensor_IsNotKept()
    {
        using var scope = NewDisposeScope();
        Tensor source;
        using (inference_mode())
        {
            source = ones(3) + 1;
        }

        using VersionedCache cache = new();
        int computed = 0;
        for (int i = 0; i < 2; i++)
        {
            cache.GetOrCompute([source], () => zeros(++computed));
        }

        computed.Should().Be(2);
    }

    [Fact]
    public void Norm_EvaluatedInInferenceModeFirst_ServesTrainingAfterwards()
    {
        using var scope = NewDisposeScope();
        manual_seed(32);
        using DoraLinear layer = new(37, 53, new() { Rank = 4 });
        Tensor x = randn(5, 37);
        Tensor evaluated;
        using (inference_mode())
        {
            evaluated = layer.call(x);
        }

        Tensor trained = layer.call(x);
        trained.sum().backward();

        Reference.SameBits(trained, evaluated.clone()).Should().BeTrue();
        ((LoraAdapter)layer.Adapters["default"]).Magnitude!.grad.Should().NotBeNull();
    }

    private static void Change(string way, DoraLinear layer, LoraAdapter adapter)
    {
        switch (way)
        {
            case "optimizer":
                using (var optimizer = optim.AdamW(layer.Adapters.parameters(), lr: 0.1))
                {
                    optimizer.step();
                }

                break;
            case "no_grad":
                using (no_grad())
                {
                    adapter.A.add_(0.3);
                }

                break;
            case "copy":
                using (no_grad())
                {
                    adapter.B.copy_(randn(53, 4));
                }

                break;
            case "zero_":
                using (no_grad())
                {
                    layer.BaseLayer.weight[3].zero_();
                    layer.BaseLayer.weight.mul_(2);
                }

                break;
            case "load_state_dict":
                layer.load_state_dict(layer.state_dict().ToDictionary(p => p.Key, p => p.Value.detach() * 1.5));
                break;
            case "to":
                layer.to(ScalarType.Float64);
                using (no_grad())
                {
                    adapter.B.mul_(2);
                }

                break;
            case "binary load":
                using (DoraLinear other = new(37, 53, new() { Rank = 4 }))
                using (MemoryStream stream = new())
                {
                    Reference.Disturb(other.Adapters, seed: 8);
                    using BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
                    other.save(writer);
                    stream.Position = 0;
                    layer.load(stream);
                }

                break;
            case "new weight":
                layer.BaseLayer.weight = new Parameter(randn(53, 37), requires_grad: false);
                break;
            case "merge":
                layer.Merge();
                break;
            case "unmerge":
                layer.Merge();
                layer.Unmerge();
                break;
        }
    }
}
