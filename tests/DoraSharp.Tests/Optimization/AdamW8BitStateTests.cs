using System.Text;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Optimization;

public class AdamW8BitStateTests
{
    private static readonly AdamW8BitOptions Options = new() { LearningRate = 0.02, Min8BitSize = 300 };

    public enum Way
    {
        Stream,
        File,
        Dictionary,
        BaseClass,
    }

    [Theory]
    [InlineData(Way.Stream)]
    [InlineData(Way.File)]
    [InlineData(Way.Dictionary)]
    [InlineData(Way.BaseClass)]
    public void Load_SavedInTheMiddle_ContinuesBitForBit(Way way)
    {
        using var scope = NewDisposeScope();
        using Run first = new();
        first.Train(0, 3);
        first.SetRate(0.01);
        using Run second = new(Options with { LearningRate = 1, Beta1 = 0.5, Min8BitSize = 0 });
        second.Train(7, 9);
        second.CopyParameters(first);
        Carry(first.Optimizer, second.Optimizer, way);

        first.Train(3, 6);
        second.Train(3, 6);

        first.Parameters.Zip(second.Parameters).Should().OnlyContain(pair => Reference.SameBits(pair.First, pair.Second));
        second.Optimizer.ParamGroups.Select(group => group.LearningRate).Should().Equal(0.01, 0.01);
        Save(second.Optimizer).Should().Equal(Save(first.Optimizer));
    }

    [Fact]
    public void Load_CutOffAnywhere_FailsAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Run run = new();
        run.Train(0, 2);
        byte[] good = Save(run.Optimizer);
        run.Train(2, 3);

        // Each field's first bytes, and some of the many numbers.
        foreach (int length in Enumerable.Range(0, 200).Concat(Enumerable.Range(0, 20).Select(i => good.Length - 1 - (i * 61))))
        {
            Fails(run, good[..length], "*nothing was changed*");
        }

        Load(run.Optimizer, good);
        Save(run.Optimizer).Should().Equal(good);
    }

    [Fact]
    public void Load_DamagedOrForeign_SaysWhyAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Run run = new();
        run.Train(0, 2);
        byte[] good = Save(run.Optimizer);
        run.Train(2, 3);
        int options = 1 + "AdamW8Bit".Length + 2;
        int state = options + (2 * ((6 * 8) + 2));
        int scales = state + 17 + (int)run.Parameters[0].numel();

        Fails(run, With(good, 1, Encoding.ASCII.GetBytes("SgdXXXXXX")), "*At the head: it is not AdamW8Bit's, but says 'SgdXXXXXX'*");
        Fails(run, With(good, options - 2, [3]), "*it has 3 groups with 3 parameters, the optimizer 2 with 3*");
        Fails(run, With(good, options - 1, [2]), "*it has 2 groups with 2 parameters, the optimizer 2 with 3*");
        Fails(run, With(good, options, BitConverter.GetBytes(double.NaN)), "*At the head: group 0: LearningRate must be*");
        Fails(run, With(good, options + 8, BitConverter.GetBytes(-1.0)), "*At the head: group 0: LearningRate must be*");
        Fails(run, With(good, options + 16, BitConverter.GetBytes(1.0)), "*At the head: group 0: Beta1 must be*");
        Fails(run, With(good, options + 48, [1]), "*group 0 asks for AMSGrad*");
        Fails(run, With(good, state, BitConverter.GetBytes(-1L)), "*At parameter 0: -1 is no number of steps*");
        Fails(run, With(good, state, BitConverter.GetBytes(long.MaxValue)), "*is no number of steps*");
        Fails(run, With(good, state + 8, BitConverter.GetBytes(1L << 40)), "*At parameter 0: it is about a parameter of 1099511627776 elements, not of 999*");
        Fails(run, With(good, state + 16, [4]), "*At parameter 0: there are no states of 4 bits*");
        Fails(run, With(good, scales, BitConverter.GetBytes(float.NaN)), "*At parameter 0: the scale of a block must be finite and not negative*");
        Fails(run, With(good, scales, BitConverter.GetBytes(-1f)), "*At parameter 0: the scale of a block must be finite and not negative*");

        // The last parameter has 32 bits.
        Fails(run, With(good, good.Length - 4, BitConverter.GetBytes(-1f)), "*At parameter 2: a running mean must be finite and not negative*");
        Fails(run, With(good, good.Length - 4, BitConverter.GetBytes(float.PositiveInfinity)), "*At parameter 2: a running mean must be finite*");
    }

    [Fact]
    public void Load_FileThatGoesOn_FailsAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Run run = new();
        run.Train(0, 2);
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "state");
        File.WriteAllBytes(path, [.. Save(run.Optimizer), 0]);
        run.Train(2, 3);
        byte[] before = Save(run.Optimizer);

        FluentActions.Invoking(() => run.Optimizer.load_state_dict(path)).Should().Throw<InvalidDataException>().WithMessage("*goes on after it*");
        Save(run.Optimizer).Should().Equal(before);
    }

    [Fact]
    public void LoadDictionary_OfAnotherOptimizer_FailsAndChangesNothing()
    {
        using var scope = NewDisposeScope();
        using Run run = new();
        run.Train(0, 2);
        byte[] before = Save(run.Optimizer);
        using AdamW exact = optim.AdamW([new AdamW.ParamGroup(run.Parameters[..2]), new AdamW.ParamGroup(run.Parameters[2..])]);
        using AdamW8Bit fewer = new(run.Parameters, Options);
        using AdamW8Bit turned = new([new AdamW.ParamGroup([run.Parameters[1], run.Parameters[0]], new()), new AdamW.ParamGroup(run.Parameters[2..], new())], Options);

        Fails(exact, "*At parameter 0: it is none of AdamW8Bit*");
        Fails(fewer, "*it has 1 groups with 3 parameters, the optimizer 2 with 3*");
        Fails(turned, "*At parameter 0: it is none of AdamW8Bit about a parameter of 999 elements*");
        Save(run.Optimizer).Should().Equal(before);

        void Fails(OptimizerHelper other, string message) =>
            FluentActions.Invoking(() => run.Optimizer.load_state_dict(other.state_dict())).Should().Throw<InvalidDataException>().WithMessage(message);
    }

    [Fact]
    public void Load_ManyTimes_LeavesNoTensorBehind()
    {
        using var scope = NewDisposeScope();
        using Run run = new();
        run.Train(0, 2);
        byte[] good = Save(run.Optimizer);
        byte[] bad = With(good, good.Length - 4, BitConverter.GetBytes(float.NaN));
        long before = LiveTensors.Count;
        for (int i = 0; i < 10; i++)
        {
            Load(run.Optimizer, good);
            run.Optimizer.load_state_dict(run.Optimizer.state_dict());
            run.Optimizer.to(CPU);
            FluentActions.Invoking(() => Load(run.Optimizer, bad)).Should().Throw<InvalidDataException>();
        }

        LiveTensors.Count.Should().Be(before);
    }

    [Fact]
    public void Initialize_AfterSteps_BeginsAnew()
    {
        using var scope = NewDisposeScope();
        using Run run = new();
        byte[] fresh = Save(run.Optimizer);
        run.Train(0, 2);
        Save(run.Optimizer).Should().NotEqual(fresh);
        foreach (OptimizerState state in run.Optimizer.state_dict().State)
        {
            state.Initialize(run.Optimizer.state_dict().Options[0]);
        }

        Save(run.Optimizer).Should().Equal(fresh);
    }

    private static void Carry(AdamW8Bit from, AdamW8Bit to, Way way)
    {
        switch (way)
        {
            case Way.Stream:
                Load(to, Save(from));
                break;
            case Way.File:
                using (TemporaryFolder folder = new())
                {
                    string path = Path.Combine(folder.Path, "state");
                    from.save_state_dict(path);
                    to.load_state_dict(path);
                }

                break;
            case Way.Dictionary:
                to.load_state_dict(from.state_dict());
                break;
            default:
                using (BinaryReader reader = new(new MemoryStream(Save(from))))
                {
                    ((OptimizerHelper)to).load_state_dict(reader);
                }

                break;
        }
    }

    private static void Fails(Run run, byte[] bytes, string message)
    {
        byte[] before = Save(run.Optimizer);
        FluentActions.Invoking(() => Load(run.Optimizer, bytes)).Should().Throw<InvalidDataException>().WithMessage(message);
        Save(run.Optimizer).Should().Equal(before);
    }

    private static byte[] Save(AdamW8Bit optimizer)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        optimizer.save_state_dict(writer);
        return stream.ToArray();
    }

    private static void Load(AdamW8Bit optimizer, byte[] bytes)
    {
        using BinaryReader reader = new(new MemoryStream(bytes));
        optimizer.load_state_dict(reader);
    }

    private static byte[] With(byte[] bytes, int at, byte[] replaced)
    {
        byte[] copy = [.. bytes];
        replaced.CopyTo(copy, at);
        return copy;
    }

    /// <summary>Three parameters in two groups, the last one with states of 32 bits.</summary>
    private sealed class Run : IDisposable
    {
        public Run(AdamW8BitOptions? options = null)
        {
            using Generator generator = new(41);
            Parameters = [Create(27, 37), Create(601), Create(11, 13)];
            Optimizer = new([new AdamW.ParamGroup(Parameters[..2], new()), new AdamW.ParamGroup(Parameters[2..], new() { weight_decay = 0.3 })], options ?? Options);

            Parameter Create(params long[] shape) => new(randn(shape, generator: generator));
        }

        public Parameter[] Parameters { get; }

        public AdamW8Bit Optimizer { get; }

        public void Train(int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                using Generator generator = new((ulong)step);
                foreach (Parameter parameter in Parameters)
                {
                    parameter.grad = randn(parameter.shape, generator: generator);
                }

                Optimizer.step();
            }
        }

        public void SetRate(double rate)
        {
            foreach (optim.ILearningRateController group in Optimizer.ParamGroups)
            {
                group.LearningRate = rate;
            }
        }

        public void CopyParameters(Run other)
        {
            using var noGrad = no_grad();
            foreach ((Parameter own, Parameter theirs) in Parameters.Zip(other.Parameters))
            {
                own.copy_(theirs);
            }
        }

        public void Dispose()
        {
            Optimizer.Dispose();
            foreach (Parameter parameter in Parameters)
            {
                parameter.Dispose();
            }
        }
    }
}
