using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>The content of a <c>case.json</c>; the README of its area explains the fields.</summary>
internal sealed record CaseFile
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public required string Id { get; init; }

    public required string Kind { get; init; }

    public required ModelDescription Model { get; init; }

    public required Tolerance Tolerance { get; init; }

    public IReadOnlyList<string> Notes { get; init; } = [];

    public IReadOnlyList<AdapterDescription> Adapters { get; init; } = [];

    public IReadOnlyList<string> Active { get; init; } = [];

    /// <summary>By path and adapter: what the configuration came to there.</summary>
    public IReadOnlyDictionary<string, Dictionary<string, LayerSetting>> Layers { get; init; } = new Dictionary<string, Dictionary<string, LayerSetting>>();

    public IReadOnlyDictionary<string, JsonElement> Figures { get; init; } = new Dictionary<string, JsonElement>();

    public bool? AutocastAdapterDtype { get; init; }

    /// <summary>The scaling of adapters that are given as tensors, not as a folder.</summary>
    public double? Scaling { get; init; }

    /// <summary>The scaling of a trained adapter from which the case's adapter was converted: <see cref="Layers"/> is about that one.</summary>
    public double? ScalingTrained { get; init; }

    public IReadOnlyList<string>? AdapterNamesPerSample { get; init; }

    /// <summary>The active adapters behind each output, in the order in which they are reached.</summary>
    public OrderedDictionary<string, string[]>? States { get; init; }

    public OrderedDictionary<string, ScaleState>? ScaleStates { get; init; }

    public IReadOnlyList<string>? ActiveAfterDeletingTheActiveOne { get; init; }

    public IReadOnlyList<string>? ExpectedMissing { get; init; }

    public IReadOnlyList<string>? ExpectedUnexpected { get; init; }

    /// <summary>By adapter: <c>accepted</c>, or PEFT's error.</summary>
    public IReadOnlyDictionary<string, string>? SafeMerge { get; init; }

    /// <summary>By type of combination: PEFT's error.</summary>
    public IReadOnlyDictionary<string, string>? ExpectedErrors { get; init; }

    /// <summary>The probability of dropout.</summary>
    public double? P { get; init; }

    /// <summary>The arguments of what is called: a combination, an optimizer.</summary>
    public JsonElement? Call { get; init; }

    public string? ResultFolder { get; init; }

    public string? Path { get; init; }

    /// <summary>The initialisation of the case, and what came out of it beside tensors.</summary>
    public string? Init { get; init; }

    public JsonElement? Result { get; init; }

    public LoftqDescription? Loftq { get; init; }

    public StatisticsShapes? Dims { get; init; }

    public IReadOnlyDictionary<string, Statistics>? Measured { get; init; }

    /// <summary>By rank: how well the best approximation of that rank does.</summary>
    public IReadOnlyDictionary<string, ApproximationError>? Errors { get; init; }

    public IReadOnlyDictionary<string, int>? RankForEnergy { get; init; }

    public IReadOnlyList<ParameterGroup>? Groups { get; init; }

    /// <summary>Reads the file of a case.</summary>
    public static CaseFile Read(string path) =>
        JsonSerializer.Deserialize<CaseFile>(File.ReadAllText(path), Json) ?? throw new InvalidDataException($"'{path}' holds null.");

    /// <summary>A figure of the reference, to be matched or beaten; <see langword="null"/> where the case has none.</summary>
    public double? Figure(string name) =>
        Figures.TryGetValue(name, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
}
