using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>
/// An attention whose keys and values differ in size, which libtorch's own module asserts against although it has the
/// parameters for it. All tensors are [sequence, batch, features].
/// </summary>
internal static class SeparateAttention
{
    public static Tensor Run(MultiheadAttention module, long heads, Tensor query, Tensor key, Tensor value)
    {
        Dictionary<string, Parameter> p = module.named_parameters().ToDictionary(static entry => entry.name, static entry => entry.parameter);
        Tensor?[] biases = p.TryGetValue("in_proj_bias", out Parameter? bias) ? bias.chunk(3) : new Tensor?[3];
        Tensor q = Split(nn.functional.linear(query, p["q_proj_weight"], biases[0]), heads);
        Tensor k = Split(nn.functional.linear(key, p["k_proj_weight"], biases[1]), heads);
        Tensor v = Split(nn.functional.linear(value, p["v_proj_weight"], biases[2]), heads);
        Tensor weights = (q.matmul(k.transpose(-2, -1)) / Math.Sqrt(q.shape[^1])).softmax(-1);
        Tensor joined = weights.matmul(v).permute(2, 0, 1, 3).flatten(2);
        return nn.functional.linear(joined, p["out_proj.weight"], p.GetValueOrDefault("out_proj.bias"));
    }

    /// <summary>[sequence, batch, features] to [batch, heads, sequence, features of a head].</summary>
    private static Tensor Split(Tensor x, long heads) => x.unflatten(2, [heads, x.shape[2] / heads]).permute(1, 2, 0, 3);
}
