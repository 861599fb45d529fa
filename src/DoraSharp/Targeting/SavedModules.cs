namespace DoraSharp;

/// <summary>
/// The modules that are trained and saved whole. An entry means every path that ends with it, as text: <c>head</c> takes
/// <c>ahead</c>, which is what adapters trained by PEFT hold.
/// </summary>
internal static class SavedModules
{
    /// <summary>The paths, in model order, aliases behind the module that they name.</summary>
    /// <exception cref="TargetingException">A module cannot be saved.</exception>
    public static IReadOnlyList<string> Find(ModelDescription model, PreparedTargets targets, string adapterName, IReadOnlyList<TargetSite> sites, List<PeftRefusal> beyondPeft)
    {
        IReadOnlyList<string> entries = [.. targets.Options.ModulesToSave, .. targets.TiedSaves];
        if (sites.Count > 0 && entries.FirstOrDefault(entry => adapterName.EndsWith(entry, StringComparison.Ordinal)) is { } clash)
        {
            throw new TargetingException(
                TargetingError.AdapterNameClash, $"ModulesToSave names '{clash}', which is what PEFT calls the parts of the adapter '{adapterName}' inside every layer; give the adapter another name.");
        }

        List<string> saved = [];
        foreach (ModuleDescription module in model.Modules)
        {
            foreach (string path in module.Aliases.Prepend(module.Path))
            {
                if (entries.FirstOrDefault(entry => path.EndsWith(entry, StringComparison.Ordinal)) is { } entry
                    && !saved.Exists(above => path.StartsWith(above + ".", StringComparison.Ordinal))
                    && CanSave(module, path, entry, sites, beyondPeft))
                {
                    saved.Add(path);
                }
            }
        }

        return saved;
    }

    private static bool CanSave(ModuleDescription module, string path, string entry, IReadOnlyList<TargetSite> sites, List<PeftRefusal> beyondPeft)
    {
        if (module.IsContainer)
        {
            throw new TargetingException(
                TargetingError.ModulesToSaveRefused, $"ModulesToSave '{entry}' means {path}, a {module.TypeName}, which only holds modules; name those inside it.");
        }

        if (sites.FirstOrDefault(site => site.Path == module.Path || site.Path.StartsWith(module.Path + ".", StringComparison.Ordinal)) is not { } adapted)
        {
            return true;
        }

        if (adapted.Path == module.Path && !ModuleNames.Names(entry, path))
        {
            // Only the missing boundary makes it a module to save; it was asked for as a target.
            beyondPeft.Add(new(TargetingError.ModulesToSaveRefused, path, $"{path} ends with '{entry}' of ModulesToSave and is adapted; PEFT would want to save it whole too"));
            return false;
        }

        throw new TargetingException(
            TargetingError.ModulesToSaveRefused,
            $"ModulesToSave '{entry}' means {path}, but {adapted.Path} is adapted: a module is saved whole or adapted. Leave it out with ExcludeModules, or give the longer path.");
    }
}
