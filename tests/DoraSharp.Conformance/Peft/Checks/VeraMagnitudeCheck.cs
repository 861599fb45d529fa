using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>DVoRA: a VeRA adapter with a magnitude, which is given beside the inputs because PEFT's format has no place for it.</summary>
internal static class VeraMagnitudeCheck
{
    private const string Suffix = ".magnitude";

    public static bool AppliesTo(PeftCase subject) => Paths(subject).Any();

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        subject.Expect.Close("y.base", subject.Run(model), subject.Io.Read("y.base"));
        AdaptedModel adapted = subject.LoadOne(model, subject.File.Adapters[0]);
        Dictionary<string, Parameter> magnitudes = [];
        foreach (string path in Paths(subject))
        {
            using var noGrad = no_grad();
            Parameter magnitude = PeftApi.GiveMagnitude(adapted, path, subject.AdapterName);
            magnitude.copy_(subject.Io.Read(path + Suffix));
            magnitudes.Add(path, magnitude);
        }

        model.eval();
        subject.Expect.Close("y", subject.Run(model), subject.Io.Read("y"));
        GradientCheck.Train(subject, model, adapted, "", key => magnitudes.FirstOrDefault(magnitude => magnitude.Key + Suffix == key).Value?.grad);
        model.eval();
        adapted.MergeAndUnload();
        MergeCheck.CheckMerged(subject, model);
    }

    private static IEnumerable<string> Paths(PeftCase subject) =>
        subject.File.Model.Modules.Select(static module => module.Path).Where(path => subject.Io.Has(path + Suffix));
}
