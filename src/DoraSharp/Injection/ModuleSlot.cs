using System.Collections;
using System.Reflection;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A place that holds a module: a field, an element of a list or a dictionary, or a registration.</summary>
internal abstract class ModuleSlot
{
    /// <summary>Where the slot is, for errors: <c>Attention.q_proj</c>.</summary>
    public abstract string Description { get; }

    /// <summary>The type that the slot's content must have.</summary>
    public abstract Type DeclaredType { get; }

    /// <summary>Puts a module there.</summary>
    public abstract void Set(nn.Module module);

    /// <summary>A field, or the field behind a property.</summary>
    public sealed class Field(object owner, FieldInfo info) : ModuleSlot
    {
        public override string Description => $"{info.DeclaringType?.Name}.{PropertyName(info.Name)}";

        public override Type DeclaredType => info.FieldType;

        public override void Set(nn.Module module) => info.SetValue(owner, module);

        private static string PropertyName(string name) => name.StartsWith('<') ? name[1..name.IndexOf('>', StringComparison.Ordinal)] : name;
    }

    /// <summary>An element of a list or an array: a field's, or the one that <c>Sequential</c> and <c>ModuleList</c> run on.</summary>
    public sealed class ListElement(IList list, int index, Type elementType, string description) : ModuleSlot
    {
        public override string Description => description;

        public override Type DeclaredType => elementType;

        public override void Set(nn.Module module) => list[index] = module;
    }

    /// <summary>A named element of a list of pairs, as <c>ModuleDict</c> keeps one.</summary>
    public sealed class PairElement(IList list, int index, Type pairType, string description) : ModuleSlot
    {
        public override string Description => description;

        public override Type DeclaredType => pairType.GetGenericArguments()[1];

        public override void Set(nn.Module module) =>
            list[index] = Activator.CreateInstance(pairType, ((System.Runtime.CompilerServices.ITuple)list[index]!)[0], module);
    }

    /// <summary>A value of a dictionary.</summary>
    public sealed class DictionaryValue(IDictionary dictionary, object key, Type valueType, string description) : ModuleSlot
    {
        public override string Description => description;

        public override Type DeclaredType => valueType;

        public override void Set(nn.Module module) => dictionary[key] = module;
    }

    /// <summary>TorchSharp's own list of a module's children; written in place, it keeps the order of the state dict.</summary>
    public sealed class Registration(nn.Module owner, string name) : ModuleSlot
    {
        public override string Description => $"the registration of '{name}'";

        public override Type DeclaredType => typeof(nn.Module);

        public override void Set(nn.Module module) => ModuleInternals.Children(owner)[name] = module;
    }
}
