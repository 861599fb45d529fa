using System.Collections;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace DoraSharp;

/// <summary>
/// Which modules of a model are meant: a list of names, a regular expression, or every linear layer.
/// The twin of PEFT's <c>target_modules</c>, with its matching rules.
/// </summary>
/// <remarks>
/// <para>A list (<c>["q_proj", "v_proj"]</c>) matches a module whose path equals an entry or ends with <c>"." + entry</c>.</para>
/// <para>A string (<c>@".*\.self_attn\.(q|v)_proj"</c>) is a regular expression, as Python reads it, that must match the whole path.</para>
/// <para><see cref="AllLinear"/> matches every linear layer except the output head.</para>
/// </remarks>
[CollectionBuilder(typeof(TargetModules), nameof(Create))]
public sealed class TargetModules : IEnumerable<string>, IEquatable<TargetModules>
{
    private const string AllLinearText = "all-linear";
    private readonly string[] names;

    private TargetModules(string[] names, string? pattern, bool isModelDefault = false)
    {
        this.names = names;
        Pattern = pattern;
        IsModelDefault = isModelDefault;
    }

    /// <summary>Every linear layer except the output head. PEFT: <c>"all-linear"</c>.</summary>
    public static TargetModules AllLinear { get; } = new([], AllLinearText);

    /// <summary>What PEFT adapts by default in models of the model's type, such as <c>["q_proj", "v_proj"]</c> for <c>llama</c>. PEFT: <see langword="null"/>.</summary>
    public static TargetModules ModelDefault { get; } = new([], null, isModelDefault: true);

    /// <summary>No module, for options that name parameters alone (<see cref="LoraOptions.TargetParameters"/>). PEFT: <c>[]</c>.</summary>
    public static TargetModules None { get; } = new([], null);

    /// <summary>True for <see cref="ModelDefault"/>.</summary>
    public bool IsModelDefault { get; }

    /// <summary>True for <see cref="None"/>.</summary>
    public bool IsNone => Pattern is null && names.Length == 0 && !IsModelDefault;

    /// <summary>True for <see cref="AllLinear"/>.</summary>
    public bool IsAllLinear => Pattern is not null && Pattern.Equals(AllLinearText, StringComparison.OrdinalIgnoreCase);

    /// <summary>The regular expression, or <c>"all-linear"</c>; <see langword="null"/> for a list of names.</summary>
    public string? Pattern { get; }

    /// <summary>The names of a list, in order; empty for a regular expression and for <see cref="AllLinear"/>.</summary>
    public IReadOnlyList<string> Names => names;

    /// <summary>A list of names or path suffixes.</summary>
    /// <param name="names">The names: literal text, nothing is trimmed. None of them gives <see cref="None"/>.</param>
    /// <exception cref="ArgumentNullException">A name is missing.</exception>
    public static TargetModules Create(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            ArgumentNullException.ThrowIfNull(name, nameof(names));
        }

        return names.Length == 0 ? None : new(names.ToArray(), null);
    }

    /// <summary>A regular expression that must match a module's whole path, or the text <c>all-linear</c>.</summary>
    /// <param name="pattern">The pattern, in the syntax and with the meaning of Python's <c>re</c>.</param>
    /// <exception cref="ArgumentException"><paramref name="pattern"/> is empty or no regular expression.</exception>
    public static TargetModules FromPattern(string pattern)
    {
        ArgumentNullException.ThrowIfNull(pattern);
        if (pattern.Length == 0)
        {
            throw new TargetingException(TargetingError.NothingRequested, "The pattern of modules is empty, so it matches none; name modules, or take TargetModules.AllLinear.");
        }

        TargetModules result = new([], pattern);
        if (!result.IsAllLinear)
        {
            _ = ModulePattern.Whole(pattern);
        }

        return result;
    }

    /// <summary>Exactly the modules with these paths: a regular expression, since an entry of a list matches every path that ends with it.</summary>
    internal static TargetModules Exactly(IEnumerable<string> paths) => FromPattern(string.Join('|', paths.Select(Regex.Escape)));

    /// <inheritdoc cref="FromPattern(string)"/>
    public static implicit operator TargetModules(string pattern) => FromPattern(pattern);

    /// <inheritdoc/>
    public IEnumerator<string> GetEnumerator() => ((IEnumerable<string>)names).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(TargetModules? other) =>
        other is not null && Pattern == other.Pattern && IsModelDefault == other.IsModelDefault && names.AsSpan().SequenceEqual(other.names);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as TargetModules);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = default;
        hash.Add(Pattern);
        foreach (string name in names)
        {
            hash.Add(name);
        }

        return hash.ToHashCode();
    }

    /// <summary>The names in brackets, the pattern, or what says that the model type decides.</summary>
    public override string ToString() => IsNone ? "no modules" : Pattern ?? (IsModelDefault ? "the model type's defaults" : $"[{string.Join(", ", names)}]");
}
