using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>Adapters that were loaded from their folders: their ranks and scalings, the output in evaluation, and switched off.</summary>
internal static class OutputCheck
{
    public static bool AppliesTo(PeftCase subject) =>
        subject.LoadsPlainly() && subject.Io.Has("y");

    public static void Run(PeftCase subject)
    {
        // A look-up with a max norm writes into the weight.
        using CaseModel plain = subject.NewModel();
        using CaseModel model = subject.NewModel();
        Tensor y0 = subject.Run(plain);
        if (subject.Io.TryRead("y.base", out Tensor? expectedBase))
        {
            subject.Expect.Close("y.base", y0, expectedBase);
        }

        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        if (subject.File.ScalingTrained is null)
        {
            CheckSettings(subject, adapted);
        }

        Tensor y = subject.Run(model);
        subject.Expect.Close("y", y, subject.Io.Read("y"));
        CheckExact(subject, "exact.y", y, "peft_max_error_y_against_exact");
        using (adapted.Disable())
        {
            subject.Expect.Same("y with the adapters switched off", subject.Run(model), y0);
        }

        subject.Expect.Same("y with the adapters switched on again", subject.Run(model), y);
    }

    /// <summary>Demands that an error is at most the reference's own, or what two roundings make: that of the base's output and that of the sum.</summary>
    public static void CheckExact(PeftCase subject, string key, Tensor actual, string figure)
    {
        if (subject.Io.TryRead(key, out Tensor? exact) && subject.File.Figure(figure) is { } reference)
        {
            Tensor b = exact.to(ScalarType.Float64);
            double error = (actual.to(ScalarType.Float64) - b).abs().max().item<double>();
            double allowed = Math.Max(reference * 1.0001, 2 * Rounding.HalfUnit(actual.dtype) * b.abs().max().item<double>());
            subject.Expect.Require(error <= allowed, key, $"the error is {error:0.000e+0}, PEFT's own {reference:0.000e+0}, allowed {allowed:0.000e+0}");
        }
    }

    /// <summary>Compares ranks and scalings.</summary>
    public static void CheckSettings(PeftCase subject, AdaptedModel adapted)
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
