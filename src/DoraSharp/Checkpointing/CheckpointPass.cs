using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The backward pass of a checkpoint: the call runs again, this time with a graph, and gradients flow back through that.</summary>
/// <remarks>
/// In <c>backward()</c> the parameters' gradients are added to their <c>grad</c> from within, whatever parameters the call uses. In
/// <c>autograd.grad</c>, which must not touch any, they are returned: those of the module, which are inputs of the node for this.
/// </remarks>
internal sealed class CheckpointPass(Func<Tensor[], Tensor[]> call, Tensor[] outputs, ModuleState? state, IReadOnlyList<AdapterUse> uses, RepeatedRandomness? randomness) : BackwardPass
{
    private readonly (long[] Shape, ScalarType DType, bool IsDifferentiable)[] expected = Array.ConvertAll(outputs, static output => (output.shape, output.dtype, output.requires_grad));
    private readonly IReadOnlyList<Tensor> parameters = state?.Trained ?? [];
    private SavedTensor[] saved = [];
    private bool[] wanted = [];

    /// <summary>Puts the pass behind the outputs.</summary>
    /// <param name="inputs">What they were computed from.</param>
    public Tensor[] Attach(Tensor[] inputs)
    {
        wanted = Array.ConvertAll(inputs, static input => input.requires_grad);
        Tensor[] values = [.. outputs.Select(static output => output.detach())];
        Tensor[] constants = [.. values.Where((_, i) => !expected[i].IsDifferentiable)];
        outputs = [];

        Tensor[] connected = [.. inputs, .. parameters];
        if (!Array.Exists(connected, static input => input.requires_grad))
        {
            // libtorch asks a node for gradients only if one of its inputs needs one; here only something that a function captured does.
            connected = [.. connected, empty(0).requires_grad_(true)];
        }

        return GradientNode.Attach(values, constants, connected, this, node => saved = Array.ConvertAll(inputs, node.Save));
    }

    public override void Run(ReadOnlySpan<Tensor?> outputGradients, Span<Tensor?> gradients)
    {
        bool gathersAll = AutogradEngine.GathersAllGradients;
        bool needsGraph = is_grad_enabled();
        if (needsGraph && gathersAll)
        {
            throw NoSecondDerivatives();
        }

        state?.Check();
        Tensor[] inputs = new Tensor[saved.Length];
        for (int i = 0; i < inputs.Length; i++)
        {
            inputs[i] = saved[i].Unpack().detach().requires_grad_(wanted[i]);
        }

        using IDisposable recording = enable_grad();
        Tensor[] repeated = Repeat(inputs);
        List<Tensor> ends = [];
        List<Tensor> given = [];
        for (int i = 0; i < repeated.Length; i++)
        {
            if (outputGradients[i] is { } gradient && expected[i].IsDifferentiable)
            {
                ends.Add(repeated[i]);
                given.Add(gradient.detach());
            }
        }

        if (gathersAll)
        {
            autograd.backward(ends, given);
            for (int i = 0; i < inputs.Length; i++)
            {
                gradients[i] = wanted[i] ? inputs[i].grad : null;
            }
        }
        else
        {
            Gather([.. inputs, .. parameters], ends, given, needsGraph, gradients);
        }
    }

    public override void Free()
    {
        Array.ForEach(saved, static tensor => tensor.Free());
        saved = [];
        randomness?.Dispose();
    }

    private static NotSupportedException NoSecondDerivatives() =>
        new("A gradient checkpoint gives no second derivatives: do not differentiate its gradients (create_graph), or run this part without a checkpoint.");

    private static void Gather(Tensor[] leaves, List<Tensor> ends, List<Tensor> given, bool needsGraph, Span<Tensor?> gradients)
    {
        int[] asked = [.. Enumerable.Range(0, leaves.Length).Where(i => leaves[i].requires_grad)];
        IList<Tensor> found = autograd.grad(ends, [.. asked.Select(i => leaves[i])], given, allow_unused: true);
        for (int i = 0; i < asked.Length; i++)
        {
            if (found[i] is { IsInvalid: false } gradient)
            {
                gradients[asked[i]] = needsGraph ? NotDifferentiable.Mark(gradient) : gradient;
            }
        }
    }

    private Tensor[] Repeat(Tensor[] inputs)
    {
        Tensor[] repeated;
        List<AdapterUse> used = [];
        using (randomness?.Repeat())
        using (AdapterUse.Watch(used))
        {
            repeated = call(inputs);
        }

        if (!used.SequenceEqual(uses))
        {
            throw new InvalidOperationException("The adapters that a gradient checkpoint runs on were activated, switched off, merged or exchanged between the forward and the backward pass. Call backward() first.");
        }

        (long[], ScalarType, bool)[] found = Array.ConvertAll(repeated, static output => (output.shape, output.dtype, output.requires_grad));
        if (found.Length != expected.Length || found.Zip(expected).Any(pair => !IsSame(pair.First, pair.Second)))
        {
            throw new InvalidOperationException(
                $"A gradient checkpoint gave {Description(expected)} in the forward pass, and {Description(found)} when it was run again in the backward pass. It must do the same both times.");
        }

        return repeated;
    }

    private static bool IsSame((long[] Shape, ScalarType DType, bool IsDifferentiable) a, (long[] Shape, ScalarType DType, bool IsDifferentiable) b) =>
        (a.DType, a.IsDifferentiable) == (b.DType, b.IsDifferentiable) && a.Shape.SequenceEqual(b.Shape);

    private static string Description(IEnumerable<(long[] Shape, ScalarType DType, bool IsDifferentiable)> outputs) => string.Join(
        ", ", outputs.Select(static output => $"{output.DType}[{string.Join(", ", output.Shape)}] {(output.IsDifferentiable ? "with" : "without")} a gradient"));

    /// <summary>Lets a gradient throw when it is differentiated itself.</summary>
    private sealed class NotDifferentiable : BackwardPass
    {
        public static Tensor Mark(Tensor gradient) =>
            GradientNode.Attach(gradient, [empty(0).requires_grad_(true)], new NotDifferentiable(), static (_, _) => { });

        public override void Run(ReadOnlySpan<Tensor?> outputGradients, Span<Tensor?> gradients) => throw NoSecondDerivatives();

        public override void Free()
        {
        }
    }
}
