using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace DoraSharp;

/// <summary>TorchSharp's native entry points for nodes of libtorch's graph whose backward pass is managed code.</summary>
/// <remarks>
/// TorchSharp's own <c>autograd.Function</c> is built on the same ones. It keeps a tensor of every output's size, makes new delegates for each
/// call and leaves the gradients that it returns to the garbage collector.
/// </remarks>
internal static unsafe partial class LibTorchNode
{
    private const string Library = "LibTorchSharp";

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_ctor")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial Pointers Make(nint apply, nint delete);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_disposeSharedPtr")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void ReleaseShared(Pointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_disposeWeakPtr")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void ReleaseWeak(Pointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_CSharpNode_setNextEdges")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void Connect(Pointers node, Handles inputs, byte isExecutable);

    [LibraryImport(Library, EntryPoint = "THSAutograd_Function_wrapOutputs")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void Wrap(Handles inputs, Handles nonDifferentiable, Handles dirty, Handles outputs, Pointers node, delegate* unmanaged[Cdecl]<nuint, nint*> allocate);

    [LibraryImport(Library, EntryPoint = "THSAutograd_SavedVariable_ctor")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial nint Save(nint tensor, Pointers node, byte isInPlaceOnView);

    [LibraryImport(Library, EntryPoint = "THSAutograd_SavedVariable_unpack")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial nint Unpack(nint saved, Pointers node);

    [LibraryImport(Library, EntryPoint = "THSAutograd_SavedVariable_dispose")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void Forget(nint saved);

    /// <summary>A strong and a weak reference to a node.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal readonly struct Pointers
    {
        private readonly nint shared;
        private readonly nint weak;
    }

    /// <summary>An array of tensor handles.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal readonly struct Handles(nint* first, long count)
    {
        private readonly nint* first = first;
        private readonly long count = count;
    }

    /// <summary>The place for the tensors that <see cref="Wrap"/> returns.</summary>
    internal static class Results
    {
        [ThreadStatic]
        private static nint* places;

        [ThreadStatic]
        private static nuint capacity;

        public static nint* First => places;

        [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
        public static nint* Allocate(nuint count)
        {
            if (count > capacity)
            {
                places = (nint*)NativeMemory.Realloc(places, count * (nuint)sizeof(nint));
                capacity = count;
            }

            return places;
        }
    }
}
