using static TorchSharp.torch;

namespace DoraSharp.Tests.Injection;

/// <summary>Adapters that are extracted from a fully trained model.</summary>
public class AdaptedModelFitTests
{
    [Fact]
    public void FitTo_ATunedModel_GivesTheBestAdapterAndNamesTheRest()
    {
        using var scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        manual_seed(111);
        using MixedModel model = new();
        using MixedModel tuned = new();
        using MixedModel other = new();
        tuned.load_state_dict(model.state_dict());
        other.load_state_dict(model.state_dict());
        using (no_grad())
        {
            Move(tuned, "embedding.weight", 3);
            Move(tuned, "transposed.weight", 5);
            Move(tuned, "convolution.weight", 2);
            tuned.get_parameter("linear.bias")!.add_(1);
            tuned.get_parameter("transposed.bias")!.add_(0.5);
            tuned.get_parameter("grouped.weight")!.mul_(1.5);
        }

        using AdaptedModel adapted = AdapterInjector.Inject(
            model, new() { Rank = 2, UseDora = true, TargetModules = ["embedding", "transposed", "convolution"], ModulesToSave = ["grouped"], Bias = BiasTraining.LoraOnly });

        ConversionReport report = adapted.FitTo("default", tuned, RankChoice.ForEnergy(1 - 1e-14));

        report.Uncovered.Should().Equal("linear.bias");
        report.Layers.Select(layer => (layer.Path, layer.Rank)).Should().BeEquivalentTo([("embedding", 3), ("transposed", 5), ("convolution", 2)]);
        report.LargestError.Should().BeLessThan(1e-6);
        using (no_grad())
        {
            tuned.get_parameter("linear.bias")!.sub_(1);
        }

        Reference.RelativeError(model.call(MixedModel.Ids()), tuned.call(MixedModel.Ids())).Should().BeLessThan(1e-6);
        adapted.Save(folder.Path);
        using AdaptedModel loaded = AdaptedModel.Load(other, folder.Path);
        Reference.SameBits(other.call(MixedModel.Ids()), model.call(MixedModel.Ids())).Should().BeTrue();
    }

    [Fact]
    public void FitTo_AModelThatDoesNotFit_IsRefusedAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using MixedModel model = new();
        using OpenFields other = new();
        using MixedModel broken = new();
        using MixedModel adaptedItself = new();
        using AdaptedModel adapted = AdapterInjector.Inject(model, new() { Rank = 2, TargetModules = ["linear", "convolution"] });
        using AdaptedModel second = AdapterInjector.Inject(adaptedItself, new() { TargetModules = ["linear"] });
        using (no_grad())
        {
            broken.get_parameter("convolution.weight")![0, 0, 0] = double.NaN;
        }

        Dictionary<string, Tensor> before = model.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.clone());
        Refused<ArgumentException>(other, "*no parameter 'linear.weight'*");
        Refused<ArgumentException>(broken, "*NaN*");
        Refused<InvalidOperationException>(adaptedItself, "*adapted already*");

        void Refused<T>(nn.Module tuned, string message)
            where T : Exception
        {
            adapted.Invoking(a => a.FitTo("default", tuned, RankChoice.Fixed(3))).Should().Throw<T>().WithMessage(message);
            model.state_dict().Should().OnlyContain(entry => Reference.SameBits(entry.Value, before[entry.Key]));
        }
    }

    /// <summary>Changes a weight by a product of the given rank.</summary>
    private static void Move(nn.Module model, string name, int rank)
    {
        Tensor weight = model.get_parameter(name)!;
        Tensor matrix = weight.flatten(1);
        weight.add_(randn(matrix.shape[0], rank, dtype: weight.dtype).matmul(randn(rank, matrix.shape[1], dtype: weight.dtype)).mul(0.1).reshape(weight.shape));
    }
}
