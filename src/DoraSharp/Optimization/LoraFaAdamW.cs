using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// LoRA-FA (arXiv 2308.03303): A is frozen, so that no layer's input needs to be kept for its gradient, and B follows the
/// step that comes closest to that of full fine-tuning. PEFT: <c>LoraFAOptimizer</c>.
/// </summary>
/// <remarks>
/// <para>
/// A linear layer with a magnitude that trains keeps its input all the same, for the magnitude's gradient.
/// </para>
/// <para>
/// The gradient of B becomes grad_B·(A Aᵀ + 1e-8·I)⁻¹/s²: of all updates s·ΔB·A the one nearest to the gradient of the effective
/// direction. The inverse is computed in float64, where PEFT computes in bfloat16 if the machine can. AdamW follows, for B and for
/// all else that trains: p ← p − η·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε), then p ← p − η·λ·p.
/// </para>
/// <para>
/// For DoRA the same holds, as its norm is a constant in the backward pass; the magnitude takes plain AdamW without decay. PEFT
/// refuses to run there.
/// </para>
/// <para>
/// Groups, learning-rate schedulers and <c>save_state_dict</c> are those of TorchSharp's AdamW. Parameters that are added by
/// <c>add_param_group</c> take plain AdamW.
/// </para>
/// </remarks>
public sealed class LoraFaAdamW : AdamW
{
    /// <summary>PEFT's δ: keeps A Aᵀ invertible.</summary>
    private const double Ridge = 1e-8;

    private readonly Dictionary<Parameter, Projection> projections = new(ReferenceEqualityComparer.Instance);

    /// <summary>Takes what trains in an adapted model, and freezes each A of it.</summary>
    /// <param name="model">The adapted model. Its A stay frozen after the optimizer is gone.</param>
    /// <param name="options">The rates.</param>
    /// <exception cref="InvalidOperationException">
    /// Nothing trains, or an A is zero, so that its adapter would never learn (an embedding's A starts so: initialise it otherwise), or an alpha is. Nothing was changed.
    /// </exception>
    /// <exception cref="NotSupportedException">A parameter of several experts is adapted. Nothing was changed.</exception>
    /// <exception cref="ObjectDisposedException">The adapters were taken out of the model.</exception>
    public LoraFaAdamW(AdaptedModel model, LoraFaOptions options)
        : this(Pairs(model), [.. TrainedParameters.Of(model)], options)
    {
    }

    /// <summary>The same for parameters.</summary>
    /// <param name="pairs">The factors.</param>
    /// <param name="trained">All that trains, the factors among them.</param>
    /// <param name="options">The rates.</param>
    internal LoraFaAdamW(IReadOnlyList<FactorPair> pairs, IReadOnlyList<NamedParameter> trained, LoraFaOptions options)
        : base(Groups(pairs, trained, options), options.LearningRate, options.Beta1, options.Beta2, options.Epsilon)
    {
        foreach (FactorPair pair in pairs)
        {
            pair.A.requires_grad = false;
            projections.Add(pair.B, new(pair));
        }
    }

    /// <summary>Performs one step.</summary>
    /// <param name="closure">Computes the loss anew, if given.</param>
    /// <returns>What <paramref name="closure"/> returned.</returns>
    public override Tensor step(Func<Tensor>? closure = null) => _step<ParamGroup>(
        group =>
        {
            foreach (Parameter parameter in group.Parameters)
            {
                if (parameter.grad is { } gradient)
                {
                    using var scope = NewDisposeScope();
                    Tensor projected = projections.TryGetValue(parameter, out Projection? projection) ? projection.Apply(gradient) : gradient;
                    Step(parameter, projected.to(parameter.dtype), (State)_state[parameter.Handle], group.Options);
                }
            }
        },
        closure);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // The finalizer also runs for an optimizer whose constructor refused its arguments; TorchSharp's Dispose would fail there,
        // which ends the process. What needs no finalizer of ours has one of its own.
        if (!disposing)
        {
            return;
        }

        foreach (Projection projection in projections.Values)
        {
            projection.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>AdamW as PEFT's optimizer has it: ε outside the correction of the bias, the decay after the step.</summary>
    private static void Step(Parameter parameter, Tensor gradient, State state, Options options)
    {
        double rate = options.LearningRate!.Value;
        double beta1 = options.beta1!.Value;
        double beta2 = options.beta2!.Value;
        state.step++;
        state.exp_avg.mul_(beta1).add_(gradient, alpha: 1 - beta1);
        state.exp_avg_sq.mul_(beta2).addcmul_(gradient, gradient, value: 1 - beta2);
        double corrected = rate * Math.Sqrt(1 - Math.Pow(beta2, state.step)) / (1 - Math.Pow(beta1, state.step));
        parameter.addcdiv_(state.exp_avg, state.exp_avg_sq.sqrt().add_(options.eps!.Value), value: -corrected);
        if (options.weight_decay!.Value is > 0 and double decay)
        {
            parameter.mul_(1 - (rate * decay));
        }
    }

    private static IReadOnlyList<FactorPair> Pairs(AdaptedModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return
        [
            .. from layer in model.Layers
               from name in layer.Value.Active
               let adapter = layer.Value[name] as LoraAdapter
               where adapter is { B.requires_grad: true }
               select PairOf(layer.Key, adapter),
        ];
    }

    private static FactorPair PairOf(string path, LoraAdapter adapter) => adapter.Geometry.Experts == 1
        ? new(path, adapter.A, adapter.B, adapter.Scaling, adapter.A.shape[0] / adapter.B.shape[1])
        : throw new NotSupportedException($"The adapter at {path} holds the factors of {adapter.Geometry.Experts} experts, which LoRA-FA is not defined for; train it with AdamW.");

    private static IEnumerable<ParamGroup> Groups(IReadOnlyList<FactorPair> pairs, IReadOnlyList<NamedParameter> trained, LoraFaOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        foreach (FactorPair pair in pairs)
        {
            using Tensor zero = pair.A.detach().count_nonzero();
            if (zero.item<long>() == 0)
            {
                throw new InvalidOperationException(
                    $"A of '{pair.Path}' is zero and LoRA-FA freezes it, so that the adapter would never learn. Initialise A otherwise, or train it with AdamW.");
            }

            if (pair.Scaling == 0)
            {
                throw new InvalidOperationException($"The scaling of '{pair.Path}' is 0, so that its adapter cannot learn; give it an alpha.");
            }
        }

        HashSet<Parameter> frozen = new(pairs.Select(pair => pair.A), ReferenceEqualityComparer.Instance);
        NamedParameter[] rest = [.. trained.Where(named => named.Parameter.requires_grad && !frozen.Contains(named.Parameter))];
        if (rest.Length == 0)
        {
            throw new InvalidOperationException("Nothing trains: no parameter of the model's adapters but A requires a gradient.");
        }

        // Only the decay is set: the rest comes from the optimizer.
        return from named in rest
               group named.Parameter by named.IsMagnitude into members
               orderby members.Key
               select new ParamGroup(members.ToArray(), new Options { weight_decay = members.Key ? 0 : options.WeightDecay });
    }

    /// <summary>grad ↦ grad·(A Aᵀ + δ·I)⁻¹/s², group by group. The inverse is kept until A changes, by a load for example.</summary>
    private sealed class Projection(FactorPair pair) : IDisposable
    {
        private readonly VersionedCache inverse = new();

        public Tensor Apply(Tensor gradient)
        {
            Tensor kept = inverse.GetOrCompute([pair.A], Inverse);
            Tensor grouped = gradient.to(ScalarType.Float64).reshape(pair.Groups, -1, gradient.shape[1]);
            return grouped.matmul(kept).reshape(gradient.shape).div_(pair.Scaling * pair.Scaling);
        }

        public void Dispose() => inverse.Dispose();

        private Tensor Inverse()
        {
            using var scope = NewDisposeScope();
            Tensor a = pair.A.detach().to(ScalarType.Float64).reshape(pair.Groups, -1, pair.A.shape[1]);
            Tensor gram = a.matmul(a.transpose(1, 2)) + (Ridge * eye(a.shape[1], dtype: ScalarType.Float64, device: a.device));
            return linalg.inv(gram).MoveToOuterDisposeScope();
        }
    }
}
