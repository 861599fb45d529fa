using static TorchSharp.torch;

namespace DoraSharp.Transformers;

/// <summary>Rotary position embeddings (arXiv 2104.09864) on half-split pairs: channel i turns with channel i + d/2.</summary>
internal sealed class RotaryEmbedding(LlamaConfig config)
{
    /// <summary>Cosines and signed sines, each <c>[count, headDimension]</c>, of the positions from <paramref name="offset"/> on.</summary>
    /// <remarks>Angles are float32 products whatever the model's dtype, as the pretrained weights saw them in training.</remarks>
    public (Tensor Cosines, Tensor SignedSines) At(long offset, long count, Device device, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        double[] frequencies = config.RopeScaling?.InverseFrequencies(config, offset + count)
            ?? RopeScaling.Unscaled(config.RopeTheta, config.HeadDimension);
        double scale = config.RopeScaling?.AttentionScale(config) ?? 1;

        Tensor inverse = tensor(Array.ConvertAll(frequencies, frequency => (float)frequency), device: device);
        Tensor positions = arange(offset, offset + count, dtype: ScalarType.Float32, device: device);
        Tensor angles = outer(positions, inverse);
        Tensor cosines = angles.cos() * scale, sines = angles.sin() * scale;
        return (
            cat([cosines, cosines], dim: -1).to(dtype).MoveToOuterDisposeScope(),
            cat([-sines, sines], dim: -1).to(dtype).MoveToOuterDisposeScope());
    }

    /// <summary>Turns queries or keys <c>[batch, heads, tokens, headDimension]</c>.</summary>
    public static Tensor Rotate(Tensor heads, Tensor cosines, Tensor signedSines)
    {
        using var scope = NewDisposeScope();
        Tensor swapped = heads.roll(heads.shape[^1] / 2, -1);
        return (heads * cosines).addcmul(swapped, signedSines, 1).MoveToOuterDisposeScope();
    }
}
