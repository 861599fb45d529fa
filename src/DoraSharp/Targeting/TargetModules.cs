using System.Collections;
using System.Runtime.CompilerServices;

namespace DoraSharp;

/// <summary>
/// Which modules of a model are meant: a list of names, a regular expression, or every linear layer.
/// The twin of PEFT's <c>target_modules</c>, with its matching rules.
/// </summary>
/// <remarks>
/// <para>A list (<c>["q_proj", "v_proj"]</c>) matches a module whose path equals an entry or ends with <c>"." + entry</c>.</para>
/// <para>A string (<c>@".*\.self_attn\.(q|v)_proj"</c>) is a regular expression that must match the whole path.</para>
/// <para><see cref="AllLinear"/> matches every linear layer except the output head.</para>
/// </remarks>
[CollectionBuilder(typeof(TargetModules), nameof(Create))]
public sealed class TargetModules : IEnumerable<string>, IEquatable<TargetModules>
{
    private const string AllLinearText = "all-linear";
    private readonly string[] names;

    private TargetModules(string[] names, string? pattern)
    {
        this.names = names;
        Pattern = pattern;
    }

    /// <summary>Every linear layer except the output head. PEFT: <c>"all-linear"</c>.</summary>
    public static TargetModules AllLinear { get; } = new([], AllLinearText);

    /// <summary>What PEFT adapts by default in models of the model's type, such as <c>["q_proj", "v_proj"]</c> for <c>llama</c>. PEFT: <see langword="null"/>.</summary>
    public static TargetModules ModelDefault { get; } = new([], null);

    /// <summary>No module: for adapters of parameters alone. PEFT: <c>[]</c>.</summary>
    public static TargetModules None { get; } = new([], "");

    /// <summary>True for <see cref="ModelDefault"/>.</summary>
    public bool IsModelDefault => Pattern is null && names.Length == 0;

    /// <summary>True for <see cref="None"/>.</summary>
    public bool IsNone => Pattern is "";

    /// <summary>True for <see cref="AllLinear"/>.</summary>
    public bool IsAllLinear => Pattern is not null && Pattern.Equals(AllLinearText, StringComparison.OrdinalIgnoreCase);

    /// <summary>The regular expression, or <c>"all-linear"</c>; <see langword="null"/> for a list of names.</summary>
    public string? Pattern { get; }

    /// <summary>The names of a list, in order; empty for a regular expression and for <see cref="AllLinear"/>.</summary>
    public IReadOnlyList<string> Names => names;

    /// <summary>A list of names or path suffixes.</summary>
    /// <param name="names">The names; none may be empty.</param>
    /// <exception cref="ArgumentException">There is no name, or one is empty.</exception>
    public static TargetModules Create(params ReadOnlySpan<string> names)
    {
        if (names.Length == 0)
        {
            throw new ArgumentException("A list of target modules needs at least one name.", nameof(names));
        }

        foreach (string name in names)
        {
            ArgumentException.ThrowIfNullOrEmpty(name, nameof(names));
        }

        return new(names.ToArray(), null);
    }

    /// <summary>A regular expression that must match a module's whole path, or the text <c>all-linear</c>.</summary>
    /// <param name="pattern">The pattern, in .NET's syntax.</param>
    /// <exception cref="ArgumentException"><paramref name="pattern"/> is empty or no regular expression.</exception>
    public static TargetModules FromPattern(string pattern)
    {
        ArgumentException.ThrowIfNullOrEmpty(pattern);
        TargetModules result = new([], pattern);
        if (!result.IsAllLinear)
        {
            _ = ModulePattern.FullMatch(pattern);
        }

        return result;
    }

    /// <inheritdoc cref="FromPattern(string)"/>
    public static implicit operator TargetModules(string pattern) => FromPattern(pattern);

    /// <inheritdoc/>
    public IEnumerator<string> GetEnumerator() => ((IEnumerable<string>)names).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <inheritdoc/>
    public bool Equals(TargetModules? other) =>
        other is not null && Pattern == other.Pattern && names.AsSpan().SequenceEqual(other.names);

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
