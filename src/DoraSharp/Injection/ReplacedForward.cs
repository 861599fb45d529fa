using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Runs something else in place of a native layer's forward when the layer is invoked by <c>call</c>: the layer itself gets
/// an input on which its forward costs next to nothing and writes nothing.
/// </summary>
internal static class ReplacedForward
{
    /// <summary>Replaces an embedding's.</summary>
    /// <returns>Takes the replacement off.</returns>
    public static Action Of(Embedding layer, Func<Tensor, Tensor> forward)
    {
        ThreadLocal<Tensor?> current = new();
        var before = layer.register_forward_pre_hook((_, ids) =>
        {
            current.Value = ids;
            return empty([0], ids.dtype, ids.device);
        });
        var after = layer.register_forward_hook((_, none, output) =>
        {
            none.Dispose();
            output.Dispose();
            Tensor ids = current.Value!;
            current.Value = null;
            return forward(ids);
        });
        return () =>
        {
            before.remove();
            after.remove();
            current.Dispose();
        };
    }

    /// <summary>Replaces an attention's, which libtorch must be able to run.</summary>
    /// <returns>Takes the replacement off.</returns>
    public static Action Of(MultiheadAttention layer, AttentionAdapters adapters)
    {
        ThreadLocal<AttentionInput?> current = new();
        (long width, long keyWidth, long valueWidth) = adapters.Widths;
        var before = layer.register_forward_pre_hook((_, query, key, value, padding, needWeights, mask) =>
        {
            current.Value = new(query, key, value, padding, needWeights, mask);

            // Where the attention weights are not asked for, the second output could not be disposed.
            return (One(width), One(keyWidth), One(valueWidth), null, true, null);

            Tensor One(long features) => zeros([1, 1, features], query.dtype, query.device);
        });
        var after = layer.register_forward_hook((_, query, key, value, _, _, _, outputs) =>
        {
            foreach (Tensor temporary in new[] { query, key, value, outputs.Item1, outputs.Item2 })
            {
                temporary.Dispose();
            }

            AttentionInput input = current.Value!.Value;
            current.Value = null;
            return adapters.Run(input, layer.training);
        });
        return () =>
        {
            before.remove();
            after.remove();
            current.Dispose();
        };
    }
}
