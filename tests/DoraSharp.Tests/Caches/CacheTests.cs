using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Caches;

/// <summary>After any change by public means the norms and gains are those of the tensors as they are now: outputs and gradients agree with float64.</summary>
public class CacheTests
{
    private const int Inputs = 37;
    private const int Outputs = 53;

    private static readonly Dictionary<string, Action<CacheCase>> Ways = new(StringComparer.Ordinal)
    {
        // A, B, m by optimizers
        ["AdamW"] = c => c.Step(optim.AdamW(c.Adapted.TrainableParameters(), lr: .1)),
        ["SGD"] = c => c.Step(optim.SGD(c.Adapted.TrainableParameters(), .5)),
        ["RMSProp"] = c => c.Step(optim.RMSProp(c.Adapted.TrainableParameters(), .1)),
        ["LoRA+"] = c => c.Step(optim.AdamW(LoraPlus.Groups(c.Adapted, new() { LearningRate = .1, Ratio = 8 }))),

        ["LoRA-FA"] = c => c.Step(new LoraFaAdamW(c.Adapted, new() { LearningRate = .1 })),

        // A, B, m in place
        ["A add_"] = c => c.Adapter.A.add_(.3),
        ["A zero_"] = c => c.Adapter.A.zero_(),
        ["A copy_"] = c => c.Adapter.A.copy_(randn(4, Inputs)),
        ["A index"] = c => c.Adapter.A[2] = ones(Inputs),
        ["A element"] = c => c.Adapter.A[1, 3] = tensor(9f),
        ["A through a view"] = c => c.Adapter.A.view(-1).narrow(0, 5, 20).mul_(-3),
        ["A through detach"] = c => c.Adapter.A.detach().fill_(.2),
        ["A through alias"] = c => c.Adapter.A.alias().mul_(1.5),
        ["B normal_"] = c => nn.init.normal_(c.Adapter.B),
        ["B index_copy_"] = c => c.Adapter.B.index_copy_(0, tensor([3L, 7L]), randn(2, 4)),
        ["B masked_fill_"] = c => c.Adapter.B.masked_fill_(c.Adapter.B > 0, .5),
        ["m mul_"] = c => c.Adapter.Magnitude!.mul_(1.7),
        ["m row to zero"] = c => c.Adapter.Magnitude![11] = tensor(0f),
        ["init kaiming of W"] = c => nn.init.kaiming_uniform_(c.Base.weight),

        // W and the bias
        ["W mul_"] = c => c.Base.weight.mul_(2),
        ["W row"] = c => c.Base.weight[5] = zeros(Inputs),
        ["W through a transposed view"] = c => c.Base.weight.t()[0].fill_(.7),
        ["W replaced"] = c => c.Base.weight = new Parameter(randn(Outputs, Inputs), requires_grad: false),
        ["W replaced twice"] = c =>
        {
            // The second may get the first one's memory, with the first one's version.
            for (int i = 0; i < 2; i++)
            {
                c.Base.weight = new Parameter(randn(Outputs, Inputs), requires_grad: false);
                c.Forward();
            }
        },
        ["bias add_"] = c => c.Base.bias!.add_(2),
        ["bias replaced"] = c => c.Base.bias = new Parameter(randn(Outputs), requires_grad: false),
        ["bias drowns a row"] = c => c.Base.bias![4] = tensor(1e6f),
        ["W set to a row of zeros and back"] = c =>
        {
            Tensor row = c.Base.weight[5].clone();
            c.Base.weight[5] = zeros(Inputs);
            c.Forward();
            c.Base.weight[5] = row;
        },

        // Whole modules
        ["load_state_dict"] = c => c.Model.load_state_dict(c.Model.state_dict().ToDictionary(p => p.Key, p => p.Value.detach() * 1.5)),
        ["binary load"] = c => c.LoadBinary(other => other.Model),
        ["binary load of the adapted layer"] = c => c.LoadBinary(other => other.Adapted.Layers[0].Value),
        ["binary load of the adapter"] = c => c.LoadBinary(other => other.Adapter),
        ["binary load of the base layer"] = c => c.LoadBinary(other => other.Base),
        ["binary load of a layer that shares W"] = c =>
        {
            using Linear twin = nn.Linear(Inputs, Outputs, hasBias: false);
            twin.weight = new Parameter(c.Base.weight.detach(), requires_grad: false);
            using DoraLinear adapted = DoraLinear.From(twin, CacheCase.Options);
            c.Forward();
            using Linear other = nn.Linear(Inputs, Outputs, hasBias: false);
            using MemoryStream stream = new();
            using BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true);
            other.save(writer);
            stream.Position = 0;
            twin.load(stream);
        },
        ["to float64"] = c => c.Model.to(ScalarType.Float64),
        ["to float64 and back"] = c => c.Model.to(ScalarType.Float64).to(ScalarType.Float32),
        ["to bfloat16 and back"] = c => c.Model.to(ScalarType.BFloat16).to(ScalarType.Float32),
        ["to cpu"] = c => c.Model.cpu(),

        // The library's own ways
        ["safetensors load"] = c => c.WithSaved(c.Adapted.Load),
        ["hot swap"] = c => c.WithSaved(folder => c.Adapted.HotSwap("default", folder)),
        ["load adapter"] = c => c.WithSaved(folder =>
        {
            c.Adapted.LoadAdapter("second", folder);
            c.Adapted.Activate("second");
        }),
        ["scale"] = c => c.Adapted.SetScale("default", 2.5),
        ["rename"] = c => c.Adapted.Rename("default", "renamed"),
        ["another adapter and back"] = c =>
        {
            c.Adapted.Add("second", CacheCase.Options with { Rank = 3 });
            c.Adapted.Activate("second");
            c.Forward();
            c.Adapter.A.add_(1);
            c.Adapted.Activate("default");
        },
        ["combined into"] = c =>
        {
            c.Adapted.Add("second", CacheCase.Options);
            c.Adapted.Combine("sum", new AdapterCombination { Adapters = ["default", "second"], Weights = [.5, .5], Type = CombinationType.Cat });
            c.Adapted.Activate("sum");
        },
        ["merge, unmerge"] = c =>
        {
            c.Adapted.Merge();
            c.Forward();
            c.Adapted.Unmerge();
        },
        ["merge, change, unmerge"] = c =>
        {
            c.Adapted.Merge();
            c.Adapter.B.mul_(-2);
            c.Adapted.Unmerge();
        },
        ["LoRA, then DoRA"] = c =>
        {
            c.Adapted.ConvertToLora("default", RankChoice.Fixed(4));
            c.Forward();
            c.Adapted.ConvertToDora("default");
        },
        ["raw memory, then Invalidate"] = c =>
        {
            c.Adapter.A.bytes[3] ^= 0x7;
            c.Base.weight.bytes[7] ^= 0x7;
            c.Adapted.Layers[0].Value.Invalidate();
        },
        ["in another thread"] = c =>
        {
            Thread other = new(() =>
            {
                using var noGrad = no_grad();
                c.Adapter.B.mul_(3);
            });
            other.Start();
            other.Join();
        },
    };

    public static TheoryData<string> Names() => [.. Ways.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void OutputAndGradients_AfterAChange_AreThoseOfTheTensorsAsTheyAre(string way)
    {
        using var scope = NewDisposeScope();
        manual_seed(31);
        using CacheCase problem = new(Inputs, Outputs);
        problem.Forward();
        using (no_grad())
        {
            Ways[way](problem);
        }

        problem.Check();
        problem.Check();
    }

    [Fact]
    public void Outputs_InSeveralThreadsWithEmptyCaches_AreTheSame()
    {
        using var scope = NewDisposeScope();
        manual_seed(32);
        using CacheCase problem = new(Inputs, Outputs);
        float[] expected = problem.Output();
        problem.Adapted.Layers[0].Value.Invalidate();
        float[][] found = new float[4][];
        Thread[] threads = [.. Enumerable.Range(0, found.Length).Select(i => new Thread(() => found[i] = problem.Output()))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());

        // libtorch's products may round otherwise on another thread.
        found.Should().OnlyContain(values => values.Zip(expected).All(pair => Math.Abs(pair.First - pair.Second) < 1e-5f));
    }

    [Fact]
    public void Gradients_AfterInferenceModeAndEvaluation_AreThoseOfTheTensorsAsTheyAre()
    {
        using var scope = NewDisposeScope();
        manual_seed(33);
        using CacheCase problem = new(Inputs, Outputs);
        problem.Model.eval();
        problem.Adapted.Layers[0].Value.Invalidate();
        using (inference_mode())
        {
            problem.Output();
        }

        problem.Model.train();
        problem.Step(optim.SGD(problem.Adapted.TrainableParameters(), .3));
        problem.Check();
    }
}
