using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Adapters that were loaded from their folders: their ranks and scalings, the output in evaluation, and switched off.</summary>
internal static class OutputCheck
{
    public static bool AppliesTo(PeftCase subject) =>
        subject.LoadsPlainly() && subject.Io.Has("y");

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        Tensor y0 = subject.Run(model);
        if (subject.Io.TryRead("y.base", out Tensor? expectedBase))
        {
            subject.Expect.Close("y.base", y0, expectedBase);
        }

        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        CheckSettings(subject, adapted);
        Tensor y = subject.Run(model);
        subject.Expect.Close("y", y, subject.Io.Read("y"));
        CheckExact(subject, "exact.y", y, "peft_max_error_y_against_exact");
        using (adapted.Disable())
        {
            subject.Expect.Same("y with the adapters switched off", subject.Run(model), y0);
        }

        subject.Expect.Same("y with the adapters switched on again", subject.Run(model), y);
    }

    /// <summary>Demands that an error is at most the reference's own.</summary>
    public static void CheckExact(PeftCase subject, string key, Tensor actual, string figure)
    {
        if (subject.Io.TryRead(key, out Tensor? exact) && subject.File.Figure(figure) is { } reference)
        {
            double error = (actual.to(ScalarType.Float64) - exact.to(ScalarType.Float64)).abs().max().item<double>();
            subject.Expect.Require(error <= reference, key, $"the error is {error:0.000e+0}, PEFT's own {reference:0.000e+0}");
        }
    }

    private static void CheckSettings(PeftCase subject, AdaptedModel adapted)
    {
        foreach ((string path, Dictionary<string, LayerSetting> settings) in subject.File.Layers)
        {
            foreach ((string name, LayerSetting expected) in settings)
            {
                (int Rank, double Scaling)? actual = PeftApi.Setting(adapted, path, name);
                bool equal = actual is ({ } rank, { } scaling) && rank == expected.R && Math.Abs(scaling - expected.Scaling) <= 1e-12 * Math.Abs(expected.Scaling);
                subject.Expect.Require(equal, $"layers {path} {name}", $"rank and scaling are {actual?.ToString() ?? "absent"}, expected ({expected.R}, {expected.Scaling})");
            }
        }
    }
}
