namespace DoraSharp;

/// <summary>Finds the parameters that are adapted by themselves. Exclusions and layers have no say in it.</summary>
internal static class TargetParameterMatcher
{
    /// <summary>Whether an entry means a parameter.</summary>
    public static bool Names(string entry, ModuleDescription module, ParameterDescription parameter)
    {
        string name = module.FullName(parameter);
        return module.IsParametrized ? entry == name : ModuleNames.Names(entry, name);
    }

    /// <summary>The sites, module by module.</summary>
    /// <exception cref="TargetingException">A parameter cannot be adapted.</exception>
    public static IEnumerable<TargetSite> Find(ModelDescription model, LoraOptions options, IReadOnlyList<TargetSite> modules, SitePlanner planner)
    {
        foreach (ModuleDescription module in model.Modules.Prepend(model.Root))
        {
            ParameterDescription[] parameters = [.. module.Parameters.Where(parameter => options.TargetParameters.Any(entry => Names(entry, module, parameter)))];
            if (parameters.Length > 0 && modules.FirstOrDefault(site => site.Path == module.Path) is { } adapted)
            {
                throw new TargetingException(
                    TargetingError.ParameterOfAdaptedModule,
                    $"TargetParameters matches {module.FullName(parameters[0])}, but {adapted.Path} is adapted as a module already; name it in one of the two.");
            }

            if (parameters.Length > 0)
            {
                ForbiddenNames.Check(model.ModelType, module.Path);
            }

            foreach (TargetSite site in planner.OfParameters(module, parameters))
            {
                yield return site;
            }
        }
    }
}
