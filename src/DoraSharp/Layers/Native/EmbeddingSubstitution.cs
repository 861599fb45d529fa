using System.Runtime.CompilerServices;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Lets a native embedding run on another weight, which may carry autograd history, until it is disposed; then the
/// layer has its own weight again: the same native tensor, untouched.
/// </summary>
/// <remarks>
/// The setter of <see cref="Embedding.weight"/> would also register the substitute as the layer's parameter; this
/// changes what the native forward reads and nothing else, so the state dict never shows the substitute. A layer with
/// a max norm clips the rows that it looks up in place, in the substitute too. Serves one thread at a time;
/// the layer must not be moved or converted meanwhile.
/// </remarks>
internal sealed class EmbeddingSubstitution : IDisposable
{
    private readonly Embedding layer;
    private readonly Parameter original;

    /// <summary>Substitutes a weight.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="weight">The weight to run on, [rows, any width], of any floating dtype on any device.</param>
    public EmbeddingSubstitution(Embedding layer, Tensor weight)
    {
        this.layer = layer;

        // Each read of the property makes a new object for the layer's native tensor.
        original = (Parameter)layer.weight!.DetachFromDisposeScope();
        NativeLayer.SetWeight(layer, weight);
    }

    /// <summary>Gives the layer its own weight back.</summary>
    public void Dispose()
    {
        if (!original.IsInvalid)
        {
            NativeLayer.SetWeight(layer, original);
            original.Dispose();
        }
    }

    /// <summary>Only a module may name the type of TorchSharp's handles to native modules; this one is never made.</summary>
    private sealed class NativeLayer : nn.Module
    {
        private NativeLayer()
            : base(nameof(NativeLayer))
        {
        }

        public static void SetWeight(Embedding layer, Tensor weight)
        {
            SetWeight(null, HandleOf(layer), weight.Handle);
            CheckForErrors();
        }

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "handle")]
        private static extern ref HType HandleOf(nn.Module module);

        [UnsafeAccessor(UnsafeAccessorKind.StaticMethod, Name = "THSNN_Embedding_set_weight")]
        private static extern void SetWeight([UnsafeAccessorType("TorchSharp.PInvoke.NativeMethods, TorchSharp")] object? nativeMethods, HType layer, nint weight);
    }
}
