using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>
/// The model of a case, as a user would have it: registered modules at their paths, invoked by <c>call</c>. The modules
/// are looked up when they are called, so that what is put in their place runs.
/// </summary>
internal sealed class CaseModel : nn.Module<Tensor[], Tensor>
{
    private readonly ModelDescription description;

    public CaseModel(ModelDescription description)
        : base(nameof(CaseModel))
    {
        this.description = description;
        foreach (ModuleDescription module in description.Modules)
        {
            (string parent, string name) = SplitLast(module.Path);
            Folder(parent).add_module(name, ModuleBuilder.Build(module));
        }
    }

    /// <summary>Gives the model its values.</summary>
    /// <param name="values">The parameters by their full names.</param>
    /// <exception cref="InvalidDataException">A parameter has no value, or a value no parameter.</exception>
    public void Load(TensorFile values)
    {
        this.to(description.Dtype switch
        {
            "bfloat16" => ScalarType.BFloat16,
            "float16" => ScalarType.Float16,
            "float32" => ScalarType.Float32,
            _ => throw new NotSupportedException($"The suite has no dtype '{description.Dtype}'."),
        });
        if (description.Tied)
        {
            Tie(values);
        }

        using var noGrad = no_grad();
        HashSet<Tensor> filled = new(ReferenceEqualityComparer.Instance);
        foreach (string name in values.Names)
        {
            Parameter parameter = Parameter(name);
            using Tensor value = values.Read(name);
            parameter.copy_(value);
            filled.Add(parameter);
        }

        string[] empty = [.. named_parameters().Where(p => !filled.Contains(p.parameter)).Select(p => p.name)];
        if (empty.Length > 0)
        {
            throw new InvalidDataException($"The base has no values for {string.Join(", ", empty)}.");
        }
    }

    /// <summary>A parameter by its full name, wherever it lies in the tree.</summary>
    public Parameter Parameter(string fullName)
    {
        nn.Module module = this;
        string rest = fullName;
        while (Child(module, rest) is ({ } child, { } below))
        {
            (module, rest) = (child, below);
        }

        return module.named_parameters().FirstOrDefault(p => p.name == rest).parameter
            ?? throw new InvalidDataException($"The model has no parameter '{fullName}'.");
    }

    /// <summary>What an attention was made with, where libtorch cannot run it: by trying it out nobody could see that.</summary>
    public AttentionOptions? AttentionAt(string path)
    {
        ModuleDescription module = description.Modules.Single(module => module.Path == path);
        return module.OptionalInteger("kdim") == module.OptionalInteger("vdim") ? null : new() { Heads = module.Integer("num_heads") };
    }

    public override Tensor forward(Tensor[] inputs)
    {
        Dictionary<string, Tensor> values = new(StringComparer.Ordinal);
        foreach ((string name, Tensor input) in description.Inputs.Zip(inputs))
        {
            values[name] = input;
        }

        foreach (ForwardStep step in description.Forward)
        {
            Tensor[] x = [.. step.In.Select(name => values[name])];
            values[step.Out] = step.Op switch
            {
                "call" => ((nn.Module<Tensor, Tensor>)Module(step.Module!)).call(x[0]),
                "mha" => Attend(step.Module!, x[0], x[1], x[2]),
                "tanh" => x[0].tanh(),
                "add" => x[0] + x[1],
                _ => throw new NotSupportedException($"The suite has no step '{step.Op}'."),
            };
        }

        return values[description.Output];
    }

    private Tensor Attend(string path, Tensor query, Tensor key, Tensor value)
    {
        ModuleDescription module = description.Modules.First(module => module.Path == path);
        bool batchFirst = module.Flag("batch_first", false);
        Tensor Turn(Tensor t) => batchFirst ? t.transpose(0, 1) : t;
        (Tensor q, Tensor k, Tensor v) = (Turn(query), Turn(key), Turn(value));
        return Turn(Module(path) switch
        {
            MultiheadAttention native when k.shape[^1] != v.shape[^1] => SeparateAttention.Run(native, module.Integer("num_heads"), q, k, v),
            nn.Module<Tensor, Tensor, Tensor, Tensor?, bool, Tensor?, Tuple<Tensor, Tensor>> attention => attention.call(q, k, v, null, true, null).Item1,
            var other => throw new NotSupportedException($"{path} is a {other.GetType().Name}, which is not called like an attention."),
        });
    }

    private nn.Module Module(string path)
    {
        nn.Module module = this;
        foreach (string name in path.Split('.'))
        {
            module = module.named_children().First(child => child.name == name).module;
        }

        return module;
    }

    private nn.Module Folder(string path)
    {
        nn.Module folder = this;
        foreach (string name in path.Split('.', StringSplitOptions.RemoveEmptyEntries))
        {
            nn.Module? next = folder.named_children().FirstOrDefault(child => child.name == name).module;
            if (next is null)
            {
                next = new ModuleFolder();
                folder.add_module(name, next);
            }

            folder = next;
        }

        return folder;
    }

    /// <summary>The head whose weight is not stored has the embedding's.</summary>
    private void Tie(TensorFile values)
    {
        string Single(string type, bool stored) => description.Modules.Single(module => module.Type == type && values.Has($"{module.Path}.weight") == stored).Path;
        ((Linear)Module(Single("Linear", stored: false))).weight = Parameter($"{Single("Embedding", stored: true)}.weight");
    }

    private static (nn.Module? Child, string? Below) Child(nn.Module module, string path)
    {
        foreach ((string name, nn.Module child) in module.named_children())
        {
            if (path.StartsWith(name + ".", StringComparison.Ordinal))
            {
                return (child, path[(name.Length + 1)..]);
            }
        }

        return (null, null);
    }

    private static (string Parent, string Name) SplitLast(string path)
    {
        int dot = path.LastIndexOf('.');
        return dot < 0 ? ("", path) : (path[..dot], path[(dot + 1)..]);
    }
}
