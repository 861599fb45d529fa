using System.Globalization;
using System.Text.RegularExpressions;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>
/// Steps of AdamW with 8-bit states. Where the gradient is always 0 the reference's parameters wander off by as much as the case says;
/// the library's do nothing but decay, and its states stay 0 there.
/// </summary>
internal sealed class AdamW8BitCheck
{
    private readonly BitsandbytesCase subject;
    private readonly double parameterTolerance;
    private readonly double shareOfCodes;

    private AdamW8BitCheck(BitsandbytesCase subject)
    {
        this.subject = subject;
        string text = BitsandbytesCase.Text(subject.Fields, "tolerance");
        parameterTolerance = Number(text, @"([\d.e-]+) absolute");
        shareOfCodes = Number(text, @"all but ([\d.]+)%") / 100;
    }

    public static void Run(BitsandbytesCase subject) => new AdamW8BitCheck(subject).Run();

    private void Run()
    {
        subject.Expect.Same("qmap1", CodeMap.DynamicSigned.On(CPU).Levels, subject.Tensors.Read("qmap1"));
        subject.Expect.Same("qmap2", CodeMap.DynamicUnsigned.On(CPU).Levels, subject.Tensors.Read("qmap2"));
        subject.Expect.Require(subject.Fields.GetProperty("block").GetInt32() == Blockwise8Moment.BlockSize, "block", "has another size");
        double[] betas = [.. subject.Fields.GetProperty("betas").EnumerateArray().Select(static beta => beta.GetDouble())];
        AdamW8BitOptions options = new()
        {
            LearningRate = Field("lr"),
            Beta1 = betas[0],
            Beta2 = betas[1],
            Epsilon = Field("eps"),
            WeightDecay = Field("weight_decay"),
            Min8BitSize = subject.Fields.GetProperty("min_8bit_size").GetInt64(),
        };
        string[] names = [.. subject.Tensors.Names.Where(static name => name.EndsWith(".step0", StringComparison.Ordinal)).Select(static name => name[..^".step0".Length])];
        Parameter[] parameters = [.. names.Select(name => new Parameter(subject.Tensors.Read($"{name}.step0")))];
        Tensor[] untouched = [.. names.Select(Untouched)];
        using AdamW8Bit optimizer = new(parameters, options);
        int steps = 0;
        for (int step = 1; subject.Tensors.Has($"{names[0]}.step{step}"); step++, steps++)
        {
            foreach ((string name, Parameter parameter) in names.Zip(parameters))
            {
                parameter.grad = subject.Tensors.Read($"{name}.grad{step}");
            }

            optimizer.step();
            foreach (((string name, Parameter parameter), (Tensor zero, OptimizerState state)) in names.Zip(parameters).Zip(untouched.Zip(optimizer.state_dict().State)))
            {
                double decay = Math.Pow(1 - (options.LearningRate * options.WeightDecay), step);
                Compare(name, step, parameter.detach(), zero, decay);
                CompareStates(name, step, (AdamW8BitState)state, zero, parameter.numel() >= options.Min8BitSize);
            }
        }

        subject.Expect.Require(steps > 0, "steps", "there are none");
        bool expected = subject.Fields.GetProperty("first_6_columns_have_zero_gradient").GetBoolean();
        subject.Expect.Require(untouched.Any(static zero => zero.any().item<bool>()) == expected, "grad", "has gradients that are always 0, or none, against what the case says");
    }

    /// <summary>Where no step has a gradient.</summary>
    private Tensor Untouched(string name) => subject.Tensors.ReadAll($"{name}.grad").Select(static gradient => gradient.Value.eq(0)).Aggregate(static (a, b) => a & b);

    private void Compare(string name, int step, Tensor actual, Tensor zero, double decay)
    {
        string key = $"{name}.step{step}";
        Tensor expected = subject.Tensors.Read(key), start = subject.Tensors.Read($"{name}.step0");
        subject.Expect.Close(key, actual[~zero], expected[~zero], new(0, parameterTolerance));
        if (zero.any().item<bool>())
        {
            subject.Expect.Close($"{key} where the gradient is 0", actual[zero], start[zero] * decay, new(0, parameterTolerance));
            subject.Expect.Close($"{key} where the reference drifts", actual[zero], expected[zero], new(0, Field("drift_of_zero_gradient_entries") + parameterTolerance));
        }
    }

    private void CompareStates(string name, int step, AdamW8BitState state, Tensor zero, bool eightBit)
    {
        subject.Expect.Require(state.Mean is Blockwise8Moment == eightBit, name, "has states of another number of bits");
        subject.Expect.Require(subject.Tensors.Has($"{name}.state1.step{step}") == eightBit, name, "has codes or none against its size");
        if (!eightBit)
        {
            return;
        }

        foreach ((int number, Moment moment) in new[] { (1, state.Mean), (2, state.Square) })
        {
            Blockwise8Moment stored = (Blockwise8Moment)moment;
            string key = $"{name}.state{number}.step{step}", scales = $"{name}.absmax{number}.step{step}";
            Tensor expected = subject.Tensors.Read(key);
            Tensor apart = (stored.Codes.view(expected.shape).to(ScalarType.Int32) - expected.to(ScalarType.Int32)).abs().masked_fill_(zero, 0);
            subject.Expect.Require(apart.max().item<int>() <= 1, key, "has codes that are more than one apart");
            subject.Expect.Require(apart.ne(0).to(ScalarType.Float64).mean().item<double>() <= shareOfCodes, key, "has too many codes that differ");
            subject.Expect.Close(scales, stored.Scales, subject.Tensors.Read(scales), subject.RelativeTolerance);
            subject.Expect.Require(!stored.Load(0, expected.numel()).view(expected.shape)[zero].any().item<bool>(), key, "is not 0 where the gradient is");
        }
    }

    private double Field(string name) => subject.Fields.GetProperty(name).GetDouble();

    private double Number(string text, string pattern) => Regex.Match(text, pattern) is { Success: true } match
        ? double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)
        : throw new NotSupportedException($"{subject.Name}: its tolerance is not understood.");
}
