using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Steps of LoRA-FA on the mean squared error: B after each, and A, which stays.</summary>
internal static class LoraFaCheck
{
    private const string Prefix = "B_after_step_";

    public static bool AppliesTo(PeftCase subject) => subject.Io.Has(Prefix + 1);

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        using optim.Optimizer optimizer = PeftApi.LoraFa(adapted, subject.File.Call!.Value);
        Tensor target = subject.Io.Read("target");
        model.train();
        for (int step = 1; subject.Io.TryRead(Prefix + step, out Tensor? expected); step++)
        {
            optimizer.zero_grad();
            (model.call(subject.Inputs()) - target).square().mean().backward();
            optimizer.step();
            subject.Expect.Close(Prefix + step, Factor(subject, adapted, "lora_B.weight"), expected);
        }

        subject.Expect.Same("A_after", Factor(subject, adapted, "lora_A.weight").detach(), subject.Io.Read("A_after"));
    }

    private static Tensor Factor(PeftCase subject, AdaptedModel adapted, string part) =>
        PeftApi.Parameters(adapted, subject.AdapterName).Single(parameter => parameter.Key.EndsWith(part, StringComparison.Ordinal)).Value;
}
