using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

public class InjectionRefusalTests
{
    [Fact]
    public void Inject_EmbeddingAdaptedWholeAndByRows_NamesBothOptions()
    {
        using Module<Tensor, Tensor> model = Sequential(("embed_tokens", Embedding(31, 17)), ("head", Linear(17, 31)));
        LoraOptions options = new() { TargetModules = ["embed_tokens"], TrainableTokens = [new(null, 3, 5)] };
        FluentActions.Invoking(() => AdapterInjector.Inject(model, options)).Should().Throw<ArgumentException>().WithMessage("*embed_tokens*TargetModules*TrainableTokens*");
        model.named_children().Select(child => child.name).Should().Equal("embed_tokens", "head");
    }

    [Fact]
    public void InjectVera_Attention_NamesItAndTheWayOut()
    {
        using Holder model = new();
        FluentActions.Invoking(() => AdapterInjector.InjectVera(model, new() { Rank = 4, TargetModules = ["attention"] })).Should().Throw<ArgumentException>().WithMessage("*attention*VeRA*ExcludeModules*");
        model.modules().Should().NotContain(module => module is AdapterStack);
    }

    private sealed class Holder : Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.MultiheadAttention attention = MultiheadAttention(8, 2);

        public Holder()
            : base(nameof(Holder)) => RegisterComponents();

        public override Tensor forward(Tensor input) => attention.call(input, input, input).Item1;
    }
}
