using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Layers.Quantized;

public class QuantizedLinearTests
{
    private static readonly QuantizationOptions[] Kinds =
    [
        new(),
        new() { DoubleQuantization = false, BlockSize = 32 },
        new() { Format = QuantizationFormat.Fp4, BlockSize = 4096 },
        new() { Format = QuantizationFormat.Int8Rows },
        new() { Format = QuantizationFormat.Blockwise8, BlockSize = 256 },
    ];

    public static TheoryData<int, ScalarType> EveryKind()
    {
        TheoryData<int, ScalarType> data = [];
        foreach (int kind in Enumerable.Range(0, Kinds.Length))
        {
            foreach (ScalarType dtype in new[] { ScalarType.Float64, ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16 })
            {
                data.Add(kind, dtype);
            }
        }

        return data;
    }

    public static TheoryData<int> KindIndices() => [.. Enumerable.Range(0, Kinds.Length)];

    [Theory]
    [MemberData(nameof(EveryKind))]
    public void ForwardAndBackward_EqualFloat64OnTheDecodedWeight(int kind, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        manual_seed(11);
        using Linear dense = nn.Linear(133, 91, dtype: dtype);
        using QuantizedLinear layer = QuantizedLinear.From(dense, Kinds[kind]);
        layer.Bias!.requires_grad = true;
        Tensor x = randn(3, 7, 133).to(dtype).requires_grad_(true);
        Tensor dy = randn(3, 7, 91).to(dtype);
        Tensor y = layer.call(x);
        y.backward([dy]);

        Tensor w = layer.Weight.Dequantize(ScalarType.Float64);
        Tensor rx = Reference.Leaf(x);
        Tensor rb = Reference.Leaf(dense.bias!);
        Tensor expected = rx.matmul(w.t()) + rb;
        expected.backward([dy.to(ScalarType.Float64)]);

        double tolerance = dtype switch { ScalarType.Float64 => 1e-13, ScalarType.Float32 => 1e-6, ScalarType.Float16 => 2e-3, _ => 1e-2 };
        y.dtype.Should().Be(dtype);
        Reference.RelativeError(y, expected).Should().BeLessThan(tolerance);
        Reference.RelativeError(x.grad!, rx.grad!).Should().BeLessThan(tolerance);
        Reference.RelativeError(layer.Bias.grad!, rb.grad!).Should().BeLessThan(tolerance);
        Reference.RelativeError(layer.Weight.Dequantize(), dense.weight).Should().BeInRange(1e-4, 0.3);
    }

    [Fact]
    public void Forward_WeightOfSeveralBlocksOfRows_IsComputedBlockByBlock()
    {
        using var scope = NewDisposeScope();
        manual_seed(12);

        // Three blocks of scratch; the last is short.
        using Linear dense = nn.Linear(4100, 2500);
        using QuantizedLinear layer = QuantizedLinear.From(dense);
        Tensor x = randn(2, 4100).requires_grad_(true);
        Tensor y = layer.call(x);
        Tensor dy = randn_like(y);
        y.backward([dy]);
        Tensor w = layer.Weight.Dequantize(ScalarType.Float64);
        Reference.RelativeError(y, x.to(ScalarType.Float64).matmul(w.t()) + dense.bias!.to(ScalarType.Float64)).Should().BeLessThan(1e-6);
        Reference.RelativeError(x.grad!, dy.to(ScalarType.Float64).matmul(w)).Should().BeLessThan(1e-6);
        Reference.RelativeError(new QuantizedWeight(layer).Project(x), w.matmul(x.to(ScalarType.Float64).t())).Should().BeLessThan(1e-6);
    }

    [Fact]
    public void Backward_Twice_DifferentiatesTheGradient()
    {
        using var scope = NewDisposeScope();
        manual_seed(13);
        using Linear dense = nn.Linear(33, 21, dtype: ScalarType.Float64);
        using QuantizedLinear layer = QuantizedLinear.From(dense);
        Tensor x = randn(5, 33, dtype: ScalarType.Float64).requires_grad_(true);
        Tensor g = autograd.grad([layer.call(x).pow(2).sum()], [x], retain_graph: true, create_graph: true)[0];
        g.pow(2).sum().backward();

        Tensor w = layer.Weight.Dequantize();
        Tensor rx = Reference.Leaf(x);
        Tensor rg = autograd.grad([(rx.matmul(w.t()) + dense.bias!.detach()).pow(2).sum()], [rx], retain_graph: true, create_graph: true)[0];
        rg.pow(2).sum().backward();
        Reference.RelativeError(x.grad!, rx.grad!).Should().BeLessThan(1e-12);
    }

    [Fact]
    public void Backward_CodesWereOverwritten_IsRefused()
    {
        using var scope = NewDisposeScope();
        using Linear dense = nn.Linear(32, 16);
        using QuantizedLinear layer = QuantizedLinear.From(dense);
        Tensor x = randn(5, 32).requires_grad_(true);
        Tensor y = layer.call(x);
        layer.get_parameter("weight")!.zero_();
        y.Invoking(output => output.sum().backward()).Should().Throw<Exception>();
    }

    [Theory]
    [MemberData(nameof(KindIndices))]
    public void StateDict_IntoAnotherLayer_BringsEveryBit(int kind)
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        manual_seed(14);
        using Linear dense = nn.Linear(65, 43);
        using Linear otherDense = nn.Linear(65, 43);
        Sequential from = nn.Sequential(("fc", QuantizedLinear.From(dense, Kinds[kind])));
        Tensor x = randn(4, 65);
        Tensor expected = from.call(x);

        using (Sequential to = nn.Sequential(("fc", QuantizedLinear.From(otherDense, Kinds[kind]))))
        {
            Reference.SameBits(to.call(x), expected).Should().BeFalse();
            to.load_state_dict(from.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.clone()));
            Reference.SameBits(to.call(x), expected).Should().BeTrue();
        }

        using (Sequential to = nn.Sequential(("fc", QuantizedLinear.From(otherDense, Kinds[kind]))))
        {
            // It writes raw memory, which libtorch's version counters do not see.
            _ = to.call(x);
            from.save(folder.File("model.dat"));
            to.load(folder.File("model.dat"));
            Reference.SameBits(to.call(x), expected).Should().BeTrue();
        }
    }

    [Fact]
    public void StateDict_HasBitsandbytesNames()
    {
        using Linear dense = nn.Linear(64, 32);
        using QuantizedLinear doubly = QuantizedLinear.From(dense);
        doubly.state_dict().Keys.Should().BeEquivalentTo("weight", "bias", "weight.absmax", "weight.nested_absmax", "weight.nested_offset");
        doubly.state_dict()["weight"].shape.Should().Equal(1024, 1);
        using QuantizedLinear plain = QuantizedLinear.From(dense, Kinds[1]);
        plain.state_dict().Keys.Should().BeEquivalentTo("weight", "bias", "weight.absmax");
        using QuantizedLinear rows = QuantizedLinear.From(dense, Kinds[3]);
        rows.state_dict().Keys.Should().BeEquivalentTo("weight", "bias", "SCB");
    }

    [Theory]
    [MemberData(nameof(KindIndices))]
    public void ToDtype_ChangesTheComputeTypeAndNoBitOfTheWeight(int kind)
    {
        using var scope = NewDisposeScope();
        manual_seed(15);
        using Linear dense = nn.Linear(65, 43);
        Sequential model = nn.Sequential(("fc", QuantizedLinear.From(dense, Kinds[kind])), ("head", nn.Linear(43, 5)));
        QuantizedLinear layer = (QuantizedLinear)model[0];
        Dictionary<string, Tensor> before = layer.state_dict().Where(entry => entry.Key != "bias").ToDictionary(entry => entry.Key, entry => entry.Value.clone());

        model.to(ScalarType.BFloat16);

        layer.ComputeType.Should().Be(ScalarType.BFloat16);
        layer.Bias!.dtype.Should().Be(ScalarType.BFloat16);
        foreach ((string name, Tensor value) in before)
        {
            Reference.SameBits(layer.state_dict()[name], value).Should().BeTrue(name);
        }

        Tensor y = model.call(randn(3, 65).to(ScalarType.BFloat16));
        y.dtype.Should().Be(ScalarType.BFloat16);
        model.to(CPU);
        Reference.SameBits(model.call(zeros(1, 65, dtype: ScalarType.BFloat16)), model.call(zeros(1, 65, dtype: ScalarType.BFloat16))).Should().BeTrue();
    }

    [Fact]
    public void Training_KeepsTheLiveTensorCountFlatAndNoDenseWeight()
    {
        using var outer = NewDisposeScope();
        manual_seed(16);
        using Linear dense = nn.Linear(96, 80);
        using QuantizedLinear layer = QuantizedLinear.From(dense);
        Tensor x = randn(6, 96).requires_grad_(true);
        Step();
        long tensors = LiveTensors.Count;
        for (int i = 0; i < 20; i++)
        {
            Step();
        }

        LiveTensors.Count.Should().Be(tensors);

        void Step()
        {
            using Tensor y = layer.call(x);
            using Tensor sum = y.sum();
            sum.backward();
        }
    }

    [Fact]
    public void Weight_TakesFourPointOneTwoSevenBitsPerParameter()
    {
        using var scope = NewDisposeScope();
        using Linear dense = nn.Linear(2048, 1024, hasBias: false);
        using QuantizedLinear layer = QuantizedLinear.From(dense);
        long registered = layer.state_dict().Values.Sum(static tensor => tensor.numel() * tensor.element_size());
        double bits = 8.0 * registered / (2048 * 1024);
        bits.Should().BeInRange(4.126, 4.1275);
        layer.Weight.BitsPerParameter.Should().BeApproximately(bits, 1e-4);
    }

    [Fact]
    public async Task Forward_TwoModelsOnTwoThreads_GivesWhatEachGivesAlone()
    {
        manual_seed(17);
        using var scope = NewDisposeScope();
        (QuantizedLinear Layer, Tensor X, Tensor Y)[] models =
        [
            .. new long[] { 257, 64 }.Select(width =>
            {
                using Linear dense = nn.Linear(width, 96);
                QuantizedLinear layer = QuantizedLinear.From(dense);
                Tensor x = randn(5, width);
                return (layer, x, layer.call(x).detach());
            }),
        ];

        await Task.WhenAll(models.Select(model => Task.Run(() =>
        {
            for (int i = 0; i < 200; i++)
            {
                using var inner = NewDisposeScope();
                Tensor x = model.X.detach().clone().requires_grad_(true);
                Tensor y = model.Layer.call(x);
                y.sum().backward();
                Reference.SameBits(y, model.Y).Should().BeTrue();
            }
        }, TestContext.Current.CancellationToken)));
        Array.ForEach(models, static model => model.Layer.Dispose());
    }

    [Fact]
    public void Constructor_WhatDoesNotFit_IsRefused()
    {
        using var scope = NewDisposeScope();
        using QuantizedTensor vector = QuantizedTensor.Quantize(randn(64));
        using QuantizedTensor matrix = QuantizedTensor.Quantize(randn(8, 16));
        FluentActions.Invoking(() => new QuantizedLinear(vector)).Should().Throw<ArgumentException>().WithMessage("*matrix*64*");
        FluentActions.Invoking(() => new QuantizedLinear(matrix, randn(9))).Should().Throw<ArgumentException>().WithMessage("*bias*[8]*[9]*");
        FluentActions.Invoking(() => new QuantizedLinear(matrix, null, ScalarType.Int32)).Should().Throw<ArgumentException>().WithMessage("*Int32*");
        using Linear broken = nn.Linear(8, 4);
        using (no_grad())
        {
            broken.weight.fill_(float.NaN);
        }

        FluentActions.Invoking(() => QuantizedLinear.From(broken)).Should().Throw<ArgumentException>().WithMessage("*NaN*");
        using QuantizedLinear layer = new(matrix.Clone());
        layer.Invoking(l => l.call(randn(3, 15))).Should().Throw<ArgumentException>().WithMessage("*16*[3, 15]*");
        layer.Invoking(l => l.call(ones(3, 16, dtype: ScalarType.Int64))).Should().Throw<ArgumentException>().WithMessage("*floating point*Int64*");
    }
}
