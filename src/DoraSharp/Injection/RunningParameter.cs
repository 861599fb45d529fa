using System.Reflection;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// The place from which a module's forward reads a parameter: a field, apart from the registration that the state dict shows.
/// </summary>
internal sealed class RunningParameter
{
    private readonly nn.Module module;
    private readonly FieldInfo place;

    private RunningParameter(nn.Module module, FieldInfo place)
    {
        this.module = module;
        this.place = place;
    }

    /// <summary>What the forward reads.</summary>
    public Parameter Value
    {
        get => (Parameter)place.GetValue(module)!;
        set => place.SetValue(module, value);
    }

    /// <summary>Finds the field that holds a registered parameter.</summary>
    /// <exception cref="NotSupportedException">There is none.</exception>
    public static RunningParameter Of(nn.Module module, string name)
    {
        Parameter? registered = module.get_parameter(name);
        for (Type? type = module.GetType(); type is not null && type != typeof(nn.Module); type = type.BaseType)
        {
            foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                if (registered is not null && field.FieldType.IsAssignableFrom(typeof(Parameter)) && ReferenceEquals(field.GetValue(module), registered))
                {
                    return new(module, field);
                }
            }
        }

        throw new NotSupportedException(
            $"No field of {module.GetType().Name} holds its parameter '{name}', so an effective weight cannot be put in its place while the module runs. Keep the parameter in a field of type Parameter.");
    }
}
