using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A whole linear layer with one adapter as one node of the graph: y = g ⊙ (W x + s·B·A drop(x)) + b, g = m/n for DoRA and 1 for LoRA,
/// n a constant.
/// </summary>
/// <remarks>
/// Of the forward pass it keeps x where A or m trains, and h = s·A drop(x) [tokens, r]. DoRA's gradient of m needs
/// W x + s·B·A drop(x), which is (y − b)/g: so the output itself serves. Where somebody has changed the output in place, or g is nearly 0,
/// it is computed again. Everything that is as large as an input or an output is written once and updated in place:
/// dX = (g ⊙ dY) W + drop(dH A), dH = s·(g ⊙ dY) B, dA = dHᵀ drop(x), dB = (hᵀ (g ⊙ dY))ᵀ, dm = Σ dY ⊙ (y − b)/m, db = Σ dY.
/// </remarks>
internal sealed class LowRankStep : BackwardPass
{
    // The inputs' places; the bias comes last.
    private const int X = 0;
    private const int A = 1;
    private const int B = 2;
    private const int M = 3;

    /// <summary>The elements from which on a copy takes longer than a view.</summary>
    private const long LargeInput = 1 << 15;

    private readonly FrozenWeight weight;
    private readonly double scaling;
    private readonly DropoutMask? mask;
    private readonly bool[] wanted;
    private readonly bool hasMagnitude;
    private ScalarType baseType;
    private ScalarType inputType;
    private long[]? inputShape;
    private RowGains? gains;
    private Tensor? h;
    private SavedTensor[] saved = [];
    private SavedTensor? input;
    private SavedTensor? output;

    private LowRankStep(LowRankCall call, Tensor[] inputs)
    {
        weight = call.Weight;
        scaling = call.Scaling;
        gains = call.Gains;
        mask = call.Mask;
        hasMagnitude = call.Magnitude is not null;
        wanted = Array.ConvertAll(inputs, static input => input.requires_grad);
    }

    private int Bias => hasMagnitude ? M + 1 : M;

    /// <summary>The layer's output, in the shape and dtype of the base layer's.</summary>
    public static Tensor Apply(LowRankCall call)
    {
        Tensor[] inputs = call.Inputs();
        LowRankStep step = new(call, inputs);
        using Tensor? view = ViewOfLeaf(call.X);
        inputs[X] = view ?? call.X;
        bool isDifferentiable = is_grad_enabled() && step.wanted.Contains(true);
        try
        {
            Tensor y = step.Forward(call, keepsH: isDifferentiable);
            if (!isDifferentiable)
            {
                step.Free();
                return y;
            }

            using (y)
            {
                return GradientNode.Attach(y, inputs, step, (node, result) => step.Save(call, node, result));
            }
        }
        catch
        {
            step.Free();
            throw;
        }
    }

    /// <summary>
    /// A view for the graph in place of an x that is a leaf, and large: libtorch copies a gradient that reaches a leaf while anybody else holds it,
    /// as the node does that returned it, and the copy of a large input costs as much as its update.
    /// </summary>
    private static Tensor? ViewOfLeaf(Tensor x) => x.numel() >= LargeInput && x.requires_grad && x.is_leaf && is_grad_enabled() ? x.view(x.shape) : null;

    public override void Run(ReadOnlySpan<Tensor?> outputGradients, Span<Tensor?> gradients)
    {
        if (outputGradients[0] is not { } outputGradient)
        {
            return;
        }

        if (is_grad_enabled())
        {
            RunDifferentiably(outputGradient, gradients);
            return;
        }

        (Tensor? x, Tensor a, Tensor b, Tensor stored) = Unpack();
        Tensor dY = MixableRows(outputGradient, a).contiguous();
        bool needsH = Wants(X) || Wants(A);
        bool fromOutput = false;
        Tensor? y = null;
        if (hasMagnitude && Wants(M))
        {
            y = Output();
            fromOutput = y is not null;
            y = fromOutput ? MixableRows(y!, b) : Direction(x!, b, stored, null);
        }

        OutputGradients output = OutputSide.Run(dY, b, scaling, Wants(B) ? h : null, gains?.Gain, y, fromOutput ? gains!.Bias : null, needsH);
        gradients[B] = output.B;
        if (output.Sums is { } sums)
        {
            gradients[M] = fromOutput ? OfMagnitude(dY, sums, x!, b, stored) : sums.mul_(gains!.InverseNorm);
        }

        if (needsH)
        {
            Tensor? dX = Wants(X) ? MixableRows(weight.BackProduct(As(output.Scaled ?? dY, baseType), stored), a) : null;
            gradients[A] = InputSide.Run(x is null ? dX! : Rows(x, a), output.PartsOfH!, a, dX, Wants(A), mask);
            gradients[X] = dX is null ? null : Like(dX, inputType, inputShape);
        }

        if (Wants(Bias))
        {
            gradients[Bias] = As(dY.sum(dim: 0), outputGradient.dtype);
        }
    }

    public override void Free()
    {
        Array.ForEach(saved, static tensor => tensor.Free());
        saved = [];
        input?.Free();
        input = null;
        output?.Free();
        output = null;
        h?.Dispose();

        // It has other owners, and this may be called again.
        gains?.Dispose();
        gains = null;
        mask?.Dispose();
    }

    /// <summary>A tensor [..., n] as rows [tokens, n], in the dtype of the adapter.</summary>
    private static Tensor Rows(Tensor tensor, Tensor a)
    {
        Tensor rows = tensor.dim() == 2 ? tensor : tensor.reshape(-1, tensor.size(-1));
        return As(rows, a.dtype);
    }

    /// <summary>
    /// The same for a tensor that sums are added to or that meets others element by element: off the CPU libtorch computes these in the larger of
    /// the dtypes as it reads, and a copy of a whole input or output would cost as much as the update itself.
    /// </summary>
    private static Tensor MixableRows(Tensor tensor, Tensor a) => Rows(tensor, tensor.device_type == DeviceType.CPU ? a : tensor);

    private static Tensor As(Tensor tensor, ScalarType dtype) => tensor.dtype == dtype ? tensor : tensor.to(dtype);

    private static Tensor Like(Tensor rows, ScalarType dtype, long[]? shape)
    {
        Tensor typed = As(rows, dtype);
        return shape is null ? typed : typed.reshape(shape);
    }

    /// <summary>A tensor's shape; <see langword="null"/> where it consists of rows already.</summary>
    private static long[]? ShapeOf(Tensor tensor) => tensor.dim() == 2 ? null : tensor.shape;

    /// <summary>Whether the backward pass needs x: for dA, and for m where the output cannot serve. dX and dB do without.</summary>
    private bool NeedsInput => Wants(A) || (hasMagnitude && Wants(M));

    private bool Wants(int input) => input < wanted.Length && wanted[input];

    private Tensor Forward(LowRankCall call, bool keepsH)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor x = Rows(call.X, call.A);
        Tensor y = MixableRows(call.BaseOutput, call.A);
        Tensor down = LowRankForward.Run(x, y, call.A, call.B, scaling, gains, mask);
        if (keepsH && (Wants(B) || (hasMagnitude && Wants(M))))
        {
            h = down.DetachFromDisposeScope();
        }

        // Not as a view of another tensor: libtorch would refuse to change it in place.
        return Like(y, call.BaseOutput.dtype, ShapeOf(call.BaseOutput)).detach().MoveToOuterDisposeScope();
    }

    private void Save(LowRankCall call, GradientNode node, Tensor result)
    {
        // The layer itself may be moved, converted or disposed before the backward pass.
        (baseType, inputType, inputShape) = (weight.DType, call.X.dtype, ShapeOf(call.X));
        Tensor[] kept = call.Magnitude is { } magnitude ? [call.A, call.B, call.Stored, magnitude] : [call.A, call.B, call.Stored];
        saved = Array.ConvertAll(kept, node.Save);
        if (NeedsInput)
        {
            input = node.Save(call.X);
        }
        else if (h is not null && Wants(X))
        {
            h = DownProjection.Attach(h, call.X, call.A, scaling, mask);
        }

        if (hasMagnitude && Wants(M))
        {
            output = node.Save(result);
        }
    }

    private (Tensor? X, Tensor A, Tensor B, Tensor Stored) Unpack() => (input?.Unpack(), saved[0].Unpack(), saved[1].Unpack(), saved[2].Unpack());

    /// <summary>The gradient of m from the sums over dY ⊙ (y − b).</summary>
    private Tensor OfMagnitude(Tensor dY, Tensor sums, Tensor x, Tensor b, Tensor stored)
    {
        sums.mul_(gains!.PerSum);
        if (gains.LostRows is { } rows)
        {
            Tensor lost = (dY.index_select(1, rows) * Direction(x, b, stored, rows)).sum(dim: 0);
            sums.index_copy_(0, rows, lost * gains.InverseNorm.index_select(0, rows));
        }

        return sums;
    }

    /// <summary>The output; <see langword="null"/> if somebody has changed it since.</summary>
    private Tensor? Output()
    {
        try
        {
            return output!.Unpack();
        }
        catch (ExternalException)
        {
            return null;
        }
    }

    /// <summary>W x + s·B·A drop(x), without bias, of all rows of W or of some.</summary>
    private Tensor Direction(Tensor x, Tensor b, Tensor stored, Tensor? rows)
    {
        Tensor matrix = weight.ToMatrix(stored);
        Tensor w = rows is null ? matrix : matrix.index_select(0, rows);
        Tensor up = rows is null ? b : b.index_select(0, rows);
        Tensor product = As(Rows(x, w).mm(w.t()), b.dtype);
        return product.addmm_(h!, up.t());
    }

    /// <summary>The same gradients by plain operations, for second derivatives. n stays a constant.</summary>
    private void RunDifferentiably(Tensor outputGradient, Span<Tensor?> gradients)
    {
        (Tensor? savedX, Tensor a, Tensor b, Tensor stored) = Unpack();
        Tensor w = weight.ToMatrix(stored);
        Tensor dY = Rows(outputGradient, a);
        Tensor scaled = hasMagnitude ? dY * (saved[3].Unpack() * gains!.InverseNorm) : dY;
        Tensor dH = scaling * scaled.mm(b);
        Tensor update = dH.mm(a);
        Tensor? factors = mask?.Factors(update);
        if (Wants(X))
        {
            Tensor dX = As(As(scaled, w.dtype).mm(w), a.dtype) + (factors is null ? update : update * factors);
            gradients[X] = Like(dX, inputType, inputShape);
        }

        // Where x was not kept, h has what history it needs.
        Tensor? x = savedX is null ? null : Rows(savedX, a);
        Tensor? dropped = factors is null ? x : x?.mul(factors);
        Tensor down = dropped is null ? h! : scaling * dropped.mm(a.t());
        gradients[A] = Wants(A) ? dH.t().mm(dropped!) : null;
        gradients[B] = Wants(B) ? scaled.t().mm(down) : null;
        if (hasMagnitude && Wants(M))
        {
            Tensor direction = As(As(x!, w.dtype).mm(w.t()), a.dtype) + down.mm(b.t());
            gradients[M] = (dY * direction).sum(dim: 0) * gains!.InverseNorm;
        }

        if (Wants(Bias))
        {
            gradients[Bias] = As(dY.sum(dim: 0), outputGradient.dtype);
        }
    }
}
