using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Makes an output that was computed without a graph a differentiable function of its inputs, by a node of libtorch's graph.</summary>
/// <remarks>
/// An exception cannot pass through libtorch, which calls the backward pass. After one the node returns no gradients at all, which makes libtorch
/// end the whole backward pass with an exception of its own; the cause goes to <see cref="Trace"/>.
/// The objects are used again, for the functions that libtorch calls are costly to make.
/// </remarks>
internal sealed unsafe class GradientNode
{
    private const int MostInputs = 8;

    private static readonly ConcurrentBag<GradientNode> Idle = [];

    /// <summary>All there are: libtorch's pointers to an object's functions do not keep it alive.</summary>
    private static readonly ConcurrentBag<GradientNode> All = [];

    /// <summary>The gradients that this thread's last backward pass returned. libtorch copies the handles after the return only.</summary>
    [ThreadStatic]
    private static List<Tensor>? returned;

    private readonly ApplyFunction apply;
    private readonly DeleteFunction delete;
    private readonly nint applyAddress;
    private readonly nint deleteAddress;
    private readonly nint* results = (nint*)NativeMemory.Alloc(MostInputs, (nuint)sizeof(nint));
    private BackwardPass? pass;
    private int inputs;

    private GradientNode()
    {
        apply = Apply;
        delete = Delete;
        applyAddress = Marshal.GetFunctionPointerForDelegate(apply);
        deleteAddress = Marshal.GetFunctionPointerForDelegate(delete);
        All.Add(this);
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate LibTorchNode.Handles ApplyFunction(nint* gradients, int count);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate void DeleteFunction();

    internal LibTorchNode.Pointers Pointers { get; private set; }

    /// <summary>Puts a node behind an output.</summary>
    /// <param name="output">The output, which has no history yet.</param>
    /// <param name="inputs">What it was computed from.</param>
    /// <param name="pass">Gives the gradients of the inputs; it belongs to the node from now on.</param>
    /// <param name="save">Lets the pass save tensors; gets the node and the output.</param>
    /// <returns>The output.</returns>
    public static Tensor Attach(Tensor output, ReadOnlySpan<Tensor> inputs, BackwardPass pass, Action<GradientNode, Tensor> save)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(inputs.Length, MostInputs);
        GradientNode node = Idle.TryTake(out GradientNode? idle) ? idle : new();
        node.Pointers = LibTorchNode.Make(node.applyAddress, node.deleteAddress);
        node.pass = pass;
        node.inputs = inputs.Length;
        try
        {
            nint* handles = stackalloc nint[inputs.Length];
            for (int i = 0; i < inputs.Length; i++)
            {
                handles[i] = inputs[i].Handle;
            }

            LibTorchNode.Handles inputHandles = new(handles, inputs.Length);
            LibTorchNode.Connect(node.Pointers, inputHandles, isExecutable: 1);
            CheckForErrors();
            nint outputHandle = output.Handle;
            LibTorchNode.Wrap(inputHandles, default, default, new(&outputHandle, 1), node.Pointers, &LibTorchNode.Result.Allocate);
            CheckForErrors();
            Tensor wrapped = Tensor.UnsafeCreateTensor(LibTorchNode.Result.Handle);
            save(node, wrapped);
            return wrapped;
        }
        finally
        {
            // The output holds the node now; where something threw, nobody does, and libtorch deletes it.
            LibTorchNode.ReleaseShared(node.Pointers);
        }
    }

    /// <summary>Keeps a tensor for the backward pass.</summary>
    public SavedTensor Save(Tensor tensor)
    {
        nint saved = LibTorchNode.Save(tensor.Handle, Pointers, isInPlaceOnView: 0);
        CheckForErrors();
        return new(saved, this);
    }

    private static void ReleaseReturned()
    {
        returned?.ForEach(static tensor => tensor.Dispose());
        returned?.Clear();
    }

    private LibTorchNode.Handles Apply(nint* outputGradients, int count)
    {
        ReleaseReturned();
        new Span<nint>(results, inputs).Clear();
        if (outputGradients[0] == 0)
        {
            return new(results, inputs);
        }

        try
        {
            Tensor?[] gradients = new Tensor?[inputs];
            using (NewDisposeScope())
            {
                pass!.Run(Tensor.UnsafeCreateTensor(outputGradients[0]), gradients);
                returned ??= [];
                for (int i = 0; i < inputs; i++)
                {
                    if (gradients[i] is { } gradient)
                    {
                        returned.Add(gradient.DetachFromDisposeScope());
                        results[i] = gradient.Handle;
                    }
                }
            }

            return new(results, inputs);
        }
#pragma warning disable CA1031 // Whatever it is, it must not reach libtorch's frames: the process would end.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Trace.TraceError($"The backward pass of an adapted layer failed: {e}");
            return default;
        }
    }

    private void Delete()
    {
        ReleaseReturned();
        LibTorchNode.ReleaseWeak(Pointers);
        pass?.Free();
        pass = null;
        Idle.Add(this);
    }
}
