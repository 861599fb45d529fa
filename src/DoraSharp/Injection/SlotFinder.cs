using System.Collections;
using System.Reflection;
using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// Finds every slot of a model that holds one of the given modules, aliases included: registrations, fields (also
/// those behind properties), lists, arrays and dictionaries of every module in the tree.
/// </summary>
internal static class SlotFinder
{
    /// <summary>What an element of a read-only collection counts as: a type that holds nothing but the layer itself.</summary>
    private static readonly Type Unsettable = typeof(TorchSharp.Modules.Linear);

    /// <summary>The slots by the module that they hold.</summary>
    public static Dictionary<nn.Module, List<ModuleSlot>> Find(nn.Module root, ModuleTree tree, IEnumerable<nn.Module> wanted)
    {
        Dictionary<nn.Module, List<ModuleSlot>> slots = new(ReferenceEqualityComparer.Instance);
        foreach (nn.Module module in wanted)
        {
            slots[module] = [];
        }

        foreach (nn.Module owner in tree.Nodes.Select(node => node.Module).Prepend(root))
        {
            foreach ((string name, nn.Module child) in ModuleInternals.Children(owner))
            {
                Add(slots, child, () => new ModuleSlot.Registration(owner, name));
            }

            for (Type? type = owner.GetType(); type is not null && type != typeof(nn.Module); type = type.BaseType)
            {
                foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                {
                    AddFrom(slots, owner, field);
                }
            }
        }

        return slots;
    }

    private static void AddFrom(Dictionary<nn.Module, List<ModuleSlot>> slots, nn.Module owner, FieldInfo field)
    {
        string description = $"{field.DeclaringType?.Name}.{field.Name}";
        switch (field.GetValue(owner))
        {
            // A module that is itself a collection is walked as a module.
            case nn.Module module:
                Add(slots, module, () => new ModuleSlot.Field(owner, field));
                break;
            case IDictionary dictionary:
                Type valueType = dictionary.IsReadOnly ? Unsettable : TypeArgument(dictionary.GetType(), typeof(IDictionary<,>), 1);
                foreach (DictionaryEntry entry in dictionary)
                {
                    Add(slots, entry.Value, () => new ModuleSlot.DictionaryValue(dictionary, entry.Key, valueType, $"{description}['{entry.Key}']"));
                }

                break;
            case IList list:
                Type elementType = TypeArgument(list.GetType(), typeof(IList<>), 0);
                if (elementType.IsPrimitive)
                {
                    break;
                }

                for (int i = 0; i < list.Count; i++)
                {
                    int index = i;
                    object? element = list[i];
                    if (element is ITuple { Length: 2 } pair && elementType.IsGenericType && elementType.GetGenericTypeDefinition() == typeof(ValueTuple<,>))
                    {
                        Add(slots, pair[1], () => new ModuleSlot.PairElement(list, index, elementType, $"{description}[{index}]"));
                    }
                    else
                    {
                        Add(slots, element, () => new ModuleSlot.ListElement(list, index, list.IsReadOnly ? Unsettable : elementType, $"{description}[{index}]"));
                    }
                }

                break;
        }
    }

    private static void Add(Dictionary<nn.Module, List<ModuleSlot>> slots, object? content, Func<ModuleSlot> slot)
    {
        if (content is nn.Module module && slots.TryGetValue(module, out List<ModuleSlot>? found))
        {
            found.Add(slot());
        }
    }

    private static Type TypeArgument(Type collection, Type definition, int position) =>
        collection.GetInterfaces().FirstOrDefault(i => i.IsGenericType && i.GetGenericTypeDefinition() == definition)?.GetGenericArguments()[position] ?? typeof(object);
}
