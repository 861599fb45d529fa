using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>What a group of parameters of TorchSharp's AdamW says to <see cref="AdamW8Bit"/>, and whether it can be done.</summary>
internal static class AdamWGroups
{
    /// <summary>The settings of a group: its own, and for what it leaves open the optimizer's.</summary>
    /// <param name="given">The group's options; none leave all open.</param>
    /// <param name="defaults">The optimizer's.</param>
    /// <param name="where">The group, for messages.</param>
    /// <exception cref="ArgumentException">The options are not AdamW's, are out of range, or ask for AMSGrad.</exception>
    public static AdamW8BitOptions Settings(OptimizerOptions? given, AdamW8BitOptions defaults, string where)
    {
        if (given is not (null or AdamW.Options))
        {
            throw new ArgumentException($"{where} has options of {given.GetType()}; give it an AdamW.Options, or none.");
        }

        AdamW.Options? options = (AdamW.Options?)given;
        if (options?.amsgrad == true)
        {
            throw new ArgumentException($"{where} asks for AMSGrad, which {nameof(AdamW8Bit)} does not have; torch.optim.AdamW does.");
        }

        try
        {
            return defaults with
            {
                LearningRate = options?.LearningRate ?? defaults.LearningRate,
                Beta1 = options?.beta1 ?? defaults.Beta1,
                Beta2 = options?.beta2 ?? defaults.Beta2,
                Epsilon = options?.eps ?? defaults.Epsilon,
                WeightDecay = options?.weight_decay ?? defaults.WeightDecay,
            };
        }
        catch (ArgumentOutOfRangeException error)
        {
            throw new ArgumentException($"{where}: {error.Message}", error);
        }
    }

    /// <summary>Writes settings into a group's options, where schedulers and state dicts find them.</summary>
    public static void Fill(AdamW.Options options, AdamW8BitOptions settings)
    {
        options.LearningRate = options.InitialLearningRate = settings.LearningRate;
        options.beta1 = settings.Beta1;
        options.beta2 = settings.Beta2;
        options.eps = settings.Epsilon;
        options.weight_decay = settings.WeightDecay;
        options.amsgrad = false;
        options.maximize ??= false;
    }

    /// <summary>The parameters of a group, enumerated once.</summary>
    /// <param name="given">The group's.</param>
    /// <param name="seen">Those of other groups; these are added.</param>
    /// <param name="where">The group, for messages.</param>
    /// <exception cref="ArgumentException">There is none, one is null, comes twice, or is of a dtype that the optimizer does not step.</exception>
    public static Parameter[] Members(IEnumerable<Parameter>? given, HashSet<Parameter> seen, string where)
    {
        Parameter[] members = [.. given ?? []];
        if (members.Length == 0)
        {
            throw new ArgumentException($"{where} has no parameters.");
        }

        foreach ((int index, Parameter member) in members.Index())
        {
            string name = $"{where}, parameter {index}";
            if (member is null)
            {
                throw new ArgumentException($"{name} is null.");
            }

            if (member.dtype is not (ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16))
            {
                throw new ArgumentException($"{name} is {member.dtype}; convert it to float32, bfloat16 or float16, or train it with torch.optim.AdamW.");
            }

            if (!seen.Add(member))
            {
                throw new ArgumentException($"{name} was there before: a parameter belongs to one group, once.");
            }
        }

        return members;
    }

    /// <summary>Looks at gradients before anything is changed.</summary>
    /// <param name="gradients">Of any shapes but empty, on any devices.</param>
    /// <param name="name">What to call the parameter of the gradient with an index.</param>
    /// <exception cref="InvalidOperationException">One cannot be taken.</exception>
    public static void CheckGradients(IReadOnlyList<Tensor> gradients, Func<int, string> name)
    {
        int sparse = gradients.Index().FirstOrDefault(static one => one.Item.is_sparse, (-1, null!)).Index;
        if (sparse >= 0)
        {
            throw new InvalidOperationException($"The gradient of {name(sparse)} is sparse; make the embedding without sparse gradients.");
        }

        if (gradients.Count == 0)
        {
            return;
        }

        // One number per gradient, and one wait for the device. What squares beyond float32 is as bad as what is infinite.
        using var scope = NewDisposeScope();
        Tensor largest = stack(gradients.Select(gradient => linalg.vector_norm(gradient, double.PositiveInfinity).to(ScalarType.Float32, gradients[0].device)));
        int bad = largest.square().isfinite().cpu().data<bool>().ToArray().AsSpan().IndexOf(false);
        if (bad >= 0)
        {
            throw new InvalidOperationException(
                $"The gradient of {name(bad)} has NaN or infinite values, or such as overflow when squared; nothing was changed. Skip this step, or lower the learning rate or the scale of the loss.");
        }
    }
}
