using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>The parameter groups of LoRA+.</summary>
internal static class LoraPlusCheck
{
    public static bool AppliesTo(PeftCase subject) => subject.File.Groups is not null;

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        IReadOnlyDictionary<string, Tensor> parameters = PeftApi.Parameters(adapted, subject.AdapterName);
        var groups = PeftApi.LoraPlusGroups(adapted, subject.File.Call!.Value);
        foreach (ParameterGroup expected in subject.File.Groups!)
        {
            foreach (string name in expected.Params)
            {
                var group = groups.SingleOrDefault(candidate => candidate.Parameters.Any(parameter => ReferenceEquals(parameter, parameters.GetValueOrDefault(name))));
                bool equal = group.Parameters is not null
                    && Math.Abs(group.LearningRate - expected.Lr) <= 1e-12 && Math.Abs(group.WeightDecay - expected.WeightDecay) <= 1e-12;
                subject.Expect.Require(equal, name, $"learning rate and weight decay are {(group.LearningRate, group.WeightDecay)}, expected {(expected.Lr, expected.WeightDecay)}");
            }
        }

        int listed = groups.Sum(static group => group.Parameters.Count), wanted = subject.File.Groups.Sum(static group => group.Params.Count);
        subject.Expect.Require(listed == wanted, "groups", $"they have {listed} parameters, expected {wanted}");
    }
}
