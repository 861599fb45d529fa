using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The tensors in an argument or a result of a module: itself, in a tuple, an array or a list, or in the fields of an object.</summary>
internal static class TensorStructure
{
    private static readonly ConcurrentDictionary<Type, FieldInfo[]> Fields = new();
    private static readonly MethodInfo Clone = typeof(object).GetMethod(nameof(MemberwiseClone), BindingFlags.Instance | BindingFlags.NonPublic)!;

    /// <summary>The tensors, in order.</summary>
    public static IEnumerable<Tensor> In(object? value) => value switch
    {
        Tensor tensor => [tensor],
        IList<Tensor> tensors => tensors,
        ITuple tuple => Enumerable.Range(0, tuple.Length).SelectMany(i => In(tuple[i])),
        null or nn.Module or Delegate => [],
        _ => FieldsOf(value).Select(field => field.GetValue(value)).OfType<Tensor>(),
    };

    /// <summary>The same value with other tensors. What has none stays the same object.</summary>
    public static object? Replace(object? value, IEnumerator<Tensor> tensors)
    {
        switch (value)
        {
            case Tensor:
                return Next(tensors);
            case Tensor[] array:
                return Array.ConvertAll(array, _ => Next(tensors));
            case IList<Tensor> list:
                return list.Select(_ => Next(tensors)).ToList();
            case ITuple tuple:
                return Activator.CreateInstance(value.GetType(), [.. Enumerable.Range(0, tuple.Length).Select(i => Replace(tuple[i], tensors))]);
            case null or nn.Module or Delegate:
                return value;
        }

        FieldInfo[] held = [.. FieldsOf(value).Where(field => field.GetValue(value) is Tensor)];
        if (held.Length == 0)
        {
            return value;
        }

        object copy = Clone.Invoke(value, null)!;
        Array.ForEach(held, field => field.SetValue(copy, Next(tensors)));
        return copy;
    }

    private static Tensor Next(IEnumerator<Tensor> tensors) => tensors.MoveNext() ? tensors.Current : throw new InvalidOperationException("There are fewer tensors than places for them.");

    private static FieldInfo[] FieldsOf(object value) => Fields.GetOrAdd(value.GetType(), static type =>
    {
        List<FieldInfo> fields = [];
        for (Type? t = type; t is not null && !type.IsPrimitive; t = t.BaseType)
        {
            fields.AddRange(t.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
                .Where(static field => field.FieldType.IsAssignableTo(typeof(Tensor))));
        }

        return [.. fields];
    });
}
