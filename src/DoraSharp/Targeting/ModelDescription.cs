namespace DoraSharp;

/// <summary>What matching knows of a model.</summary>
internal sealed class ModelDescription
{
    private readonly Dictionary<string, ModuleDescription> byPath;

    /// <summary>Describes a model.</summary>
    /// <param name="root">The model itself, with the empty path.</param>
    /// <param name="modules">The modules inside, in order: depth first, a parent before its children, each once.</param>
    public ModelDescription(ModuleDescription root, IReadOnlyList<ModuleDescription> modules)
    {
        Root = root;
        Modules = modules;
        byPath = modules.ToDictionary(static module => module.Path, StringComparer.Ordinal);
    }

    /// <summary>The model itself.</summary>
    public ModuleDescription Root { get; }

    /// <summary>The modules inside, in order.</summary>
    public IReadOnlyList<ModuleDescription> Modules { get; }

    /// <summary>The architecture's name, such as <c>llama</c>, by which default targets are found.</summary>
    public string? ModelType { get; init; }

    /// <summary>The path of the embedding of the model's inputs.</summary>
    public string? InputEmbedding { get; init; }

    /// <summary>The paths of the output embeddings, which all-linear leaves out.</summary>
    /// <value><see langword="null"/> where they are not known: they are looked for by name.</value>
    public IReadOnlyList<string>? OutputEmbeddings { get; init; }

    /// <summary>Whether a classifier's head, which has no output embedding, is left out by its name: for models of the transformers library.</summary>
    public bool NamesItsHead { get; init; }

    /// <summary>Groups of full parameter names that are one tensor.</summary>
    public IReadOnlyList<IReadOnlyList<string>> TiedParameters { get; init; } = [];

    /// <summary>Whether the model means its embeddings to be tied.</summary>
    public bool TiesWordEmbeddings { get; init; }

    /// <summary>A module by its first path.</summary>
    public ModuleDescription? Find(string path) => byPath.GetValueOrDefault(path);

    /// <summary>The paths of the linear layers that all-linear means.</summary>
    /// <param name="taskType">What the model does.</param>
    public IReadOnlyList<string> LinearPaths(string? taskType)
    {
        IEnumerable<string> linears = Modules.Where(static module => module.Kind is LayerKind.Linear or LayerKind.TransposedLinear).Select(static module => module.Path);
        if (OutputEmbeddings is null)
        {
            return [.. linears.Where(static path => !TaskHeads.OutputEmbeddings.Any(head => ModuleNames.Names(head, path)))];
        }

        IReadOnlyList<string> left = OutputEmbeddings;
        if (left.Count == 0 && NamesItsHead && taskType == TaskHeads.SequenceClassification)
        {
            left = [.. TaskHeads.Classifiers.Where(head => Find(head) is not null).Take(1)];
        }

        return [.. linears.Except(left, StringComparer.Ordinal)];
    }

    /// <summary>The modules at and under a path; an alias's path shows those of the module that it names.</summary>
    public IEnumerable<ModuleDescription> Under(string path)
    {
        string first = Modules.FirstOrDefault(module => module.Aliases.Contains(path))?.Path ?? path;
        return Modules.Where(module => module.Path == first || module.Path.StartsWith(first + ".", StringComparison.Ordinal));
    }

    /// <summary>The parameters of modules in order, each tensor once, with their full names.</summary>
    public IEnumerable<(string FullName, ParameterDescription Parameter)> ParametersOf(IEnumerable<ModuleDescription> modules)
    {
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (ModuleDescription module in modules)
        {
            foreach (ParameterDescription parameter in module.Parameters)
            {
                string name = module.FullName(parameter);
                IEnumerable<string> same = TiedParameters.FirstOrDefault(group => group.Contains(name)) ?? [name];
                if (seen.Add(name) && same.All(other => other == name || seen.Add(other)))
                {
                    yield return (name, parameter);
                }
            }
        }
    }
}
