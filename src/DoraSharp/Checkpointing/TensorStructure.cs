using System.Collections;
using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The tensors in an argument or a result of a module: itself, and those in tuples, arrays, lists, dictionaries and the fields of objects, at any depth.</summary>
/// <remarks>Modules, delegates and what is declared as <c>object</c> are not looked into.</remarks>
internal static class TensorStructure
{
    private static readonly ConcurrentDictionary<Type, bool> Holders = new();
    private static readonly ConcurrentDictionary<Type, FieldInfo[]> Fields = new();
    private static readonly MethodInfo Clone = typeof(object).GetMethod(nameof(MemberwiseClone), BindingFlags.Instance | BindingFlags.NonPublic)!;

    /// <summary>The tensors, in order.</summary>
    public static IReadOnlyList<Tensor> In(object? value)
    {
        List<Tensor> found = [];
        Map(value, Add, new(ReferenceEqualityComparer.Instance));
        return found;

        Tensor Add(Tensor tensor)
        {
            found.Add(tensor);
            return tensor;
        }
    }

    /// <summary>The same value with other tensors. What has none stays the same object.</summary>
    public static object? Replace(object? value, IEnumerator<Tensor> tensors) => Map(
        value,
        _ => tensors.MoveNext() ? tensors.Current : throw new InvalidOperationException("There are fewer tensors than places for them."),
        new(ReferenceEqualityComparer.Instance));

    /// <param name="value">What may hold tensors.</param>
    /// <param name="replace">What becomes of a tensor.</param>
    /// <param name="above">The objects that hold the value, which a circle of references would come back to.</param>
    private static object? Map(object? value, Func<Tensor, Tensor> replace, HashSet<object> above)
    {
        if (value is Tensor tensor)
        {
            return replace(tensor);
        }

        if (value is null || !MayHoldTensors(value.GetType()) || !above.Add(value))
        {
            return value;
        }

        object?[] parts = PartsOf(value);
        object?[] mapped = Array.ConvertAll(parts, part => Map(part, replace, above));
        above.Remove(value);
        return parts.Zip(mapped).All(static pair => ReferenceEquals(pair.First, pair.Second)) ? value : WithParts(value, mapped);
    }

    // Read-only collections are wrappers, whose fields hold another one.
    private static object?[] PartsOf(object value) => value switch
    {
        Array { Rank: 1 } array => [.. array.Cast<object?>()],
        ITuple tuple => [.. Enumerable.Range(0, tuple.Length).Select(i => tuple[i])],
        IDictionary { IsReadOnly: false } dictionary => [.. dictionary.Values.Cast<object?>()],
        IList { IsFixedSize: false } list => [.. list.Cast<object?>()],
        _ => Array.ConvertAll(HoldersIn(value), field => field.GetValue(value)),
    };

    private static object WithParts(object value, object?[] parts)
    {
        switch (value)
        {
            case Array { Rank: 1 } array:
                var elements = Array.CreateInstance(array.GetType().GetElementType()!, parts.Length);
                parts.CopyTo(elements, 0);
                return elements;
            case ITuple:
                return Activator.CreateInstance(value.GetType(), parts)!;
            case IDictionary { IsReadOnly: false } dictionary:
                var entries = (IDictionary)Activator.CreateInstance(value.GetType())!;
                foreach ((object key, object? part) in dictionary.Keys.Cast<object>().Zip(parts))
                {
                    entries.Add(key, part);
                }

                return entries;
            case IList { IsFixedSize: false }:
                var items = (IList)Activator.CreateInstance(value.GetType())!;
                Array.ForEach(parts, part => items.Add(part));
                return items;
        }

        object copy = Clone.Invoke(value, null)!;
        foreach ((FieldInfo field, object? part) in HoldersIn(value).Zip(parts))
        {
            field.SetValue(copy, part);
        }

        return copy;
    }

    private static FieldInfo[] HoldersIn(object value) =>
        Fields.GetOrAdd(value.GetType(), static type => [.. FieldsOf(type).Where(static field => MayHoldTensors(field.FieldType))]);

    private static bool MayHoldTensors(Type type) => Holders.GetOrAdd(type, static type => MayHoldTensors(type, []));

    /// <param name="type">A type.</param>
    /// <param name="above">The types that hold it.</param>
    private static bool MayHoldTensors(Type type, HashSet<Type> above)
    {
        if (type.IsAssignableTo(typeof(Tensor)))
        {
            return true;
        }

        if (type.IsPrimitive || type.IsEnum || type.IsPointer || type == typeof(string) || type.IsAssignableTo(typeof(nn.Module)) || type.IsAssignableTo(typeof(Delegate)) || !above.Add(type))
        {
            return false;
        }

        IEnumerable<Type> parts = type.IsArray ? [type.GetElementType()!]
            : type.IsAssignableTo(typeof(IEnumerable)) && type.IsGenericType ? type.GetGenericArguments()
            : FieldsOf(type).Select(static field => field.FieldType);
        return parts.Any(part => MayHoldTensors(part, above));
    }

    private static IEnumerable<FieldInfo> FieldsOf(Type type)
    {
        for (Type? t = type; t is not null; t = t.BaseType)
        {
            foreach (FieldInfo field in t.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                yield return field;
            }
        }
    }
}
