using System.Diagnostics.CodeAnalysis;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Compares what the library gives with what a case says. The first deviation ends the case.</summary>
/// <param name="caseName">The case's name, for the message.</param>
/// <param name="tolerance">The case's tolerance.</param>
/// <param name="byRows">Whether each output row is measured by its own size.</param>
internal sealed class Comparison(string caseName, Tolerance tolerance, bool byRows)
{
    /// <summary>Demands that a value is close to the expected one.</summary>
    /// <param name="name">The tensor's name in the case.</param>
    /// <param name="actual">The library's value.</param>
    /// <param name="expected">The case's value.</param>
    /// <param name="other">Another tolerance than the case's.</param>
    public void Close(string name, Tensor? actual, Tensor expected, Tolerance? other = null)
    {
        Tensor given = Shaped(name, actual, expected);
        if (expected.numel() == 0)
        {
            return;
        }

        Tolerance allowed = other ?? tolerance;
        using var scope = NewDisposeScope();
        Tensor b = expected.detach().to(ScalarType.Float64);
        Tensor difference = (given.detach().to(ScalarType.Float64) - b).abs();
        Tensor bound = byRows ? ByRows(name, b, allowed) : maximum((b.abs() * allowed.Rtol) + allowed.Atol, b.abs().max() * allowed.Rtol);

        // A NaN is a deviation as well: the comparison is written so that it fails it.
        if (!difference.le(bound).all().item<bool>())
        {
            double size = b.abs().max().item<double>();
            double worst = difference.max().item<double>();
            Fail(name, $"relative error {(size > 0 ? worst / size : worst):0.00e+0}, |a - b| up to {worst:0.00e+0}, allowed {allowed.Rtol:0.0e+0} relative and {allowed.Atol:0.0e+0} absolute");
        }
    }

    /// <summary>Demands that a value is the expected one, bit for bit.</summary>
    public void Same(string name, Tensor? actual, Tensor expected)
    {
        Tensor given = Shaped(name, actual, expected);
        if (given.dtype != expected.dtype)
        {
            Fail(name, $"dtype {given.dtype}, expected {expected.dtype}");
        }

        if (!IsSame(given, expected))
        {
            using Tensor difference = (given.to(ScalarType.Float64) - expected.to(ScalarType.Float64)).abs();
            Fail(name, $"{difference.ne(0).sum().item<long>()} of {given.numel()} elements differ, by up to {difference.max().item<double>():0.00e+0}; all must be equal bit for bit");
        }
    }

    /// <summary>Whether all elements are equal; a NaN equals a NaN.</summary>
    public static bool IsSame(Tensor a, Tensor b)
    {
        using var scope = NewDisposeScope();
        return a.eq(b).logical_or(a.isnan().logical_and(b.isnan())).all().item<bool>();
    }

    /// <summary>Demands something that is no tensor.</summary>
    public void Require(bool holds, string name, string otherwise)
    {
        if (!holds)
        {
            Fail(name, otherwise);
        }
    }

    private Tensor Shaped(string name, Tensor? actual, Tensor expected)
    {
        if (actual is null)
        {
            Fail(name, "the library has none");
        }

        if (!actual.shape.SequenceEqual(expected.shape))
        {
            Fail(name, $"shape [{string.Join(", ", actual.shape)}], expected [{string.Join(", ", expected.shape)}]");
        }

        return actual;
    }

    /// <summary>Each row of the weight by its own size: outputs have it last, all that lies on an output feature has it first.</summary>
    private static Tensor ByRows(string name, Tensor expected, Tolerance allowed)
    {
        bool last = name == "y" || name.StartsWith("y.", StringComparison.Ordinal);
        bool first = name.StartsWith("merged.", StringComparison.Ordinal) || name.StartsWith("init.", StringComparison.Ordinal)
            || name.EndsWith("lora_B.weight", StringComparison.Ordinal) || name.EndsWith("lora_magnitude_vector", StringComparison.Ordinal);
        long[] others = [.. Enumerable.Range(0, (int)expected.dim()).Select(static d => (long)d).Where(d => d != (last ? expected.dim() - 1 : 0))];
        Tensor size = (last || first) && others.Length > 0 ? expected.abs().amax(others, keepdim: true)
            : first ? expected.abs()
            : expected.abs().max();
        return (size * allowed.Rtol).expand(expected.shape);
    }

    [DoesNotReturn]
    private void Fail(string name, string what) => Assert.Fail($"{caseName}: {name}: {what}.");
}
