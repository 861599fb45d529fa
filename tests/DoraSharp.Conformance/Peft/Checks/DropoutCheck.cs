using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Training with a given dropout mask: output and gradients, in each placement of the dropout that the case knows.</summary>
internal static class DropoutCheck
{
    private static readonly (string Prefix, DropoutPlacement Placement)[] Formulas =
    [
        ("path_only.", DropoutPlacement.AdapterPath),
        ("peft_dropout.", DropoutPlacement.Peft),
        ("dropout.", DropoutPlacement.AdapterPath),
        ("dropout.", DropoutPlacement.Peft),
    ];

    public static bool AppliesTo(PeftCase subject) => subject.Io.Has("mask");

    public static void Run(PeftCase subject)
    {
        AdapterDescription adapter = subject.File.Adapters[0];
        using Tensor mask = subject.Io.Read("mask");
        foreach ((string prefix, DropoutPlacement placement) in Formulas.Where(formula => subject.Io.Has(formula.Prefix + "y")))
        {
            using CaseModel model = subject.NewModel();
            using AdaptedModel adapted = PeftApi.LoadWithPlacement(model, subject.Parent(adapter), adapter.Name, placement);
            subject.Expect.Require(subject.File.P == PeftApi.Dropout(adapted), "p", $"the adapter drops with {PeftApi.Dropout(adapted)}, the case with {subject.File.P}");

            // The layer may look at its input in another shape: the mask's elements lie in the same order.
            using IDisposable given = PeftApi.WithMask(x => mask.reshape(x.shape).to(x.dtype));
            GradientCheck.Train(subject, model, adapted, prefix);
        }
    }
}
