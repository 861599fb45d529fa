using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The frozen random projections that all layers of a VeRA adapter share: A [r, widest in], B [widest out, r].</summary>
internal sealed class VeraProjections : nn.Module
{
    public const string NameOfA = "vera_A";
    public const string NameOfB = "vera_B";

    /// <summary>Makes the random values that PEFT makes from the same seed: first A's, then B's.</summary>
    public VeraProjections(VeraOptions options, long inputs, long outputs, ScalarType dtype, Device device)
        : base(nameof(VeraProjections))
    {
        using var noGrad = no_grad();
        using Generator generator = new((ulong)options.ProjectionKey, CPU);
        Register(NameOfA, Uniform(options.Rank, inputs, fanIn: inputs, generator), dtype, device);
        Register(NameOfB, Uniform(outputs, options.Rank, fanIn: options.Rank, generator), dtype, device);
    }

    /// <summary>A, [r, widest in].</summary>
    public Tensor A => get_buffer(NameOfA)!;

    /// <summary>B, [widest out, r].</summary>
    public Tensor B => get_buffer(NameOfB)!;

    // PEFT's own bound, with the gain √2 of a rectifier.
    private static Tensor Uniform(long rows, long columns, long fanIn, Generator generator)
    {
        double bound = Math.Sqrt(3) * Math.Sqrt(2) / Math.Sqrt(fanIn);
        return empty(rows, columns).uniform_(-bound, bound, generator);
    }

    private void Register(string name, Tensor values, ScalarType dtype, Device device)
    {
        using (values)
        {
            register_buffer(name, values.to(dtype, device, copy: true).DetachFromDisposeScope());
        }
    }
}
