using System.Runtime.CompilerServices;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The private fields of TorchSharp that injection needs.</summary>
internal static class ModuleInternals
{
    /// <summary>The registered children of a module, by name and in order.</summary>
    public static OrderedDict<string, nn.Module> Children(nn.Module module) => ChildrenOf(module);

    /// <summary>The registered parameters of a module, by name and in order.</summary>
    public static OrderedDict<string, TorchSharp.Modules.Parameter> Parameters(nn.Module module) => ParametersOf(module);

    /// <summary>The native tensor behind a tensor object.</summary>
    public static ref nint Handle(Tensor tensor) => ref HandleOf(tensor);

    /// <summary>Whether a forward hook of somebody else sees the layer's output, and so may keep it.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="own">How many hooks are this library's.</param>
    public static bool OutputIsSeen(nn.Module<Tensor, Tensor> layer, int own) => Hooks<Func<nn.Module<Tensor, Tensor>, Tensor, Tensor>, Func<nn.Module<Tensor, Tensor>, Tensor, Tensor, Tensor>>.AfterForward(layer).Count > own;

    /// <summary>Whether a hook sees the layer's input before its forward, and so may put another in its place.</summary>
    public static bool InputIsSeen(nn.Module<Tensor, Tensor> layer) =>
        Hooks<Func<nn.Module<Tensor, Tensor>, Tensor, Tensor>, Func<nn.Module<Tensor, Tensor>, Tensor, Tensor, Tensor>>.BeforeForward(layer).Count > 0;

    /// <summary>Lets a layer run the hooks of the one that it takes the place of: what took hooks off there takes them off here.</summary>
    public static void ShareHooks(nn.Module<Tensor, Tensor> from, nn.Module<Tensor, Tensor> to)
    {
        Hooks<Func<nn.Module<Tensor, Tensor>, Tensor, Tensor>, Func<nn.Module<Tensor, Tensor>, Tensor, Tensor, Tensor>>.BeforeForward(to) =
            Hooks<Func<nn.Module<Tensor, Tensor>, Tensor, Tensor>, Func<nn.Module<Tensor, Tensor>, Tensor, Tensor, Tensor>>.BeforeForward(from);
        Hooks<Func<nn.Module<Tensor, Tensor>, Tensor, Tensor>, Func<nn.Module<Tensor, Tensor>, Tensor, Tensor, Tensor>>.AfterForward(to) =
            Hooks<Func<nn.Module<Tensor, Tensor>, Tensor, Tensor>, Func<nn.Module<Tensor, Tensor>, Tensor, Tensor, Tensor>>.AfterForward(from);
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "handle")]
    private static extern ref nint HandleOf(Tensor tensor);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_internal_submodules")]
    private static extern ref OrderedDict<string, nn.Module> ChildrenOf(nn.Module module);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_internal_params")]
    private static extern ref OrderedDict<string, TorchSharp.Modules.Parameter> ParametersOf(nn.Module module);

    // An accessor of a generic class's field must be generic in the same way.
    internal static class Hooks<TBefore, TAfter>
    {
        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "pre_hooks")]
        public static extern ref Dictionary<string, TBefore> BeforeForward(nn.HookableModule<TBefore, TAfter> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "post_hooks")]
        public static extern ref Dictionary<string, TAfter> AfterForward(nn.HookableModule<TBefore, TAfter> module);
    }
}
