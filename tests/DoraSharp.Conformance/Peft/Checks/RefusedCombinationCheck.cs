using System.Text.Json;

namespace DoraSharp.Conformance;

/// <summary>Combinations that must be refused, each with the adapters left as they were.</summary>
internal static class RefusedCombinationCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.ExpectedErrors is not null;

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        using var before = subject.Run(model);
        foreach (string type in subject.File.ExpectedErrors!.Keys)
        {
            JsonElement call = JsonSerializer.SerializeToElement(new Dictionary<string, object>
            {
                ["adapters"] = subject.File.Adapters.Select(static adapter => adapter.Name),
                ["weights"] = subject.File.Adapters.Select(static _ => 1.0),
                ["combination_type"] = type,
                ["density"] = 0.5,
            });
            subject.Expect.Require(Refusal.Of(() => PeftApi.Combine(adapted, "combined", call, [])) is not null, type, "the combination is not refused");
            subject.Expect.Require(!PeftApi.Names(adapted).Contains("combined"), type, "the refused combination left an adapter behind");
            subject.Expect.Same($"the output after the refused {type}", subject.Run(model), before);
        }
    }
}
