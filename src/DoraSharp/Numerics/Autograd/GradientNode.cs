using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Makes outputs that were computed without a graph differentiable functions of their inputs, by a node of libtorch's graph.</summary>
/// <remarks>
/// An exception cannot pass through libtorch, which calls the backward pass. After one the node returns no gradients at all, which makes libtorch
/// end the whole backward pass with an exception of its own; <see cref="BackwardFailure"/> makes the cause its inner exception.
/// The objects are used again, for the functions that libtorch calls are costly to make.
/// </remarks>
internal sealed unsafe class GradientNode
{
    private static readonly ConcurrentBag<GradientNode> Idle = [];

    /// <summary>All there are: libtorch's pointers to an object's functions do not keep it alive.</summary>
    private static readonly ConcurrentBag<GradientNode> All = [];

    /// <summary>The gradients that this thread's last backward pass returned. libtorch copies the handles after the return only.</summary>
    [ThreadStatic]
    private static List<Tensor>? returned;

    /// <summary>The nodes that libtorch has deleted on this thread while another one was being freed.</summary>
    [ThreadStatic]
    private static Queue<GradientNode>? deleted;

    private readonly ApplyFunction apply;
    private readonly DeleteFunction delete;
    private readonly nint applyAddress;
    private readonly nint deleteAddress;
    private nint* results;
    private int capacity;
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
        nint outputHandle = output.Handle;
        GradientNode node = Take(pass, inputs.Length);
        try
        {
            node.Connect(inputs, new(&outputHandle, 1), default);
            Tensor wrapped = Tensor.UnsafeCreateTensor(LibTorchNode.Results.First[0]);
            save(node, wrapped);
            return wrapped;
        }
        finally
        {
            // The output holds the node now; where something threw, nobody does, and libtorch deletes it.
            LibTorchNode.ReleaseShared(node.Pointers);
        }
    }

    /// <summary>Puts a node behind several outputs.</summary>
    /// <param name="outputs">The outputs, which have no history yet.</param>
    /// <param name="constants">Those of them that get no gradient.</param>
    /// <param name="inputs">What they were computed from.</param>
    /// <param name="pass">Gives the gradients of the inputs; it belongs to the node from now on.</param>
    /// <param name="save">Lets the pass save tensors.</param>
    /// <returns>The outputs.</returns>
    public static Tensor[] Attach(IReadOnlyList<Tensor> outputs, IReadOnlyList<Tensor> constants, ReadOnlySpan<Tensor> inputs, BackwardPass pass, Action<GradientNode> save)
    {
        nint[] outputHandles = [.. outputs.Select(static output => output.Handle)];
        nint[] constantHandles = [.. constants.Select(static constant => constant.Handle)];
        GradientNode node = Take(pass, inputs.Length);
        try
        {
            fixed (nint* output = outputHandles)
            fixed (nint* constant = constantHandles)
            {
                node.Connect(inputs, new(output, outputHandles.Length), new(constant, constantHandles.Length));
            }

            Tensor[] wrapped = new Tensor[outputHandles.Length];
            for (int i = 0; i < wrapped.Length; i++)
            {
                wrapped[i] = Tensor.UnsafeCreateTensor(LibTorchNode.Results.First[i]);
            }

            save(node);
            return wrapped;
        }
        finally
        {
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

    private static GradientNode Take(BackwardPass pass, int inputs)
    {
        ReleaseReturned();
        GradientNode node = Idle.TryTake(out GradientNode? idle) ? idle : new();
        if (inputs > node.capacity)
        {
            node.results = (nint*)NativeMemory.Realloc(node.results, (nuint)(inputs * sizeof(nint)));
            node.capacity = inputs;
        }

        node.Pointers = LibTorchNode.Make(node.applyAddress, node.deleteAddress);
        node.pass = pass;
        node.inputs = inputs;
        return node;
    }

    private static void ReleaseReturned()
    {
        if (returned is not { Count: > 0 } list)
        {
            return;
        }

        // A gradient with a history of its own may take other nodes with it, which come back here.
        returned = null;
        list.ForEach(static tensor => tensor.Dispose());
        list.Clear();
        returned ??= list;
    }

    /// <summary>Lets the node get the outputs' gradients and give the inputs' ones. The outputs with their history are then in <see cref="LibTorchNode.Results"/>.</summary>
    private void Connect(ReadOnlySpan<Tensor> from, LibTorchNode.Handles outputs, LibTorchNode.Handles constants)
    {
        nint* handles = stackalloc nint[from.Length];
        for (int i = 0; i < from.Length; i++)
        {
            handles[i] = from[i].Handle;
        }

        LibTorchNode.Handles inputHandles = new(handles, from.Length);
        LibTorchNode.Connect(Pointers, inputHandles, isExecutable: 1);
        CheckForErrors();
        LibTorchNode.Wrap(inputHandles, constants, default, outputs, Pointers, &LibTorchNode.Results.Allocate);
        CheckForErrors();
    }

    private LibTorchNode.Handles Apply(nint* outputGradients, int count)
    {
        ReleaseReturned();
        new Span<nint>(results, inputs).Clear();
        try
        {
            Tensor?[] gradients = new Tensor?[inputs];
            using (NewDisposeScope())
            {
                Tensor?[] given = new Tensor?[count];
                for (int i = 0; i < count; i++)
                {
                    given[i] = outputGradients[i] == 0 ? null : Tensor.UnsafeCreateTensor(outputGradients[i]);
                }

                pass!.Run(given, gradients);
                foreach (Tensor? gradient in gradients)
                {
                    gradient?.DetachFromDisposeScope();
                }
            }

            // Only now: with the pass's own tensors other nodes may have gone, which release what this thread returned last.
            returned ??= [];
            for (int i = 0; i < inputs; i++)
            {
                if (gradients[i] is { } gradient)
                {
                    returned.Add(gradient);
                    results[i] = gradient.Handle;
                }
            }

            return new(results, inputs);
        }
#pragma warning disable CA1031 // Whatever it is, it must not reach libtorch's frames: the process would end.
        catch (Exception e)
#pragma warning restore CA1031
        {
            BackwardFailure.Report(e);
            return default;
        }
    }

    /// <summary>
    /// What a node keeps may be the last that holds the node before it in the graph: freed there and then, a long chain of nodes would overflow
    /// the stack.
    /// </summary>
    private void Delete()
    {
        if (deleted is { } outer)
        {
            outer.Enqueue(this);
            return;
        }

        deleted = new([this]);
        while (deleted.TryDequeue(out GradientNode? node))
        {
            node.Free();
        }

        deleted = null;
    }

    private void Free()
    {
        ReleaseReturned();
        LibTorchNode.ReleaseWeak(Pointers);
        pass?.Free();
        pass = null;
        Idle.Add(this);
    }
}
