namespace DoraSharp.Transformers;

/// <summary>How rotary position embeddings are changed so that a model reads longer texts than it was first trained on.</summary>
/// <remarks>The <c>rope_scaling</c> (transformers 4) or <c>rope_parameters</c> (transformers 5) of a Hugging Face <c>config.json</c>.</remarks>
public abstract record RopeScaling
{
    private protected RopeScaling()
    {
    }

    /// <summary>What cosines and sines are multiplied by.</summary>
    internal virtual double AttentionScale(LlamaConfig config) => 1;

    /// <summary>The angle per position of each pair of a head's channels, <c>[headDimension / 2]</c>, for a sequence of <paramref name="length"/> tokens.</summary>
    internal abstract double[] InverseFrequencies(LlamaConfig config, long length);

    /// <summary>θ^(−2i/d): the frequencies before any scaling.</summary>
    internal static double[] Unscaled(double theta, int headDimension)
    {
        var frequencies = new double[headDimension / 2];
        for (int i = 0; i < frequencies.Length; i++)
        {
            frequencies[i] = Math.Pow(theta, -2.0 * i / headDimension);
        }

        return frequencies;
    }

    private protected static double Positive(double value, string name)
        => double.IsFinite(value) && value > 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be a finite number above 0.");

    private protected static int? Positive(int? value, string name)
        => value is null or > 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be 1 or more.");
}
