using System.Globalization;

namespace DoraSharp.Conformance;

/// <summary>Rescaling: a state's name says what is done to reach it, its figures which scaling it has.</summary>
internal static class ScaleCheck
{
    private const string Scale = "scale_layer";
    private const string Unscale = "unscale_layer";

    public static bool AppliesTo(PeftCase subject) => subject.File.ScaleStates is not null;

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using AdaptedModel adapted = subject.Load(model);
        model.eval();
        foreach ((string key, ScaleState state) in subject.File.ScaleStates!)
        {
            Reach(subject, adapted, key, state);
            foreach (string path in subject.File.Layers.Keys)
            {
                double scaling = PeftApi.Setting(adapted, path, subject.AdapterName)!.Value.Scaling;
                subject.Expect.Require(Math.Abs(scaling - state.Scaling) <= 1e-12, $"{key} scaling", $"it is {scaling}, expected {state.Scaling}");
            }

            subject.Expect.Close(key, subject.Run(model), subject.Io.Read(key));
        }
    }

    private static void Reach(PeftCase subject, AdaptedModel adapted, string key, ScaleState state)
    {
        if (key.Contains(Unscale, StringComparison.Ordinal))
        {
            PeftApi.UnscaleLayers(adapted, Argument(key, Unscale));
        }
        else if (key.Contains(Scale, StringComparison.Ordinal))
        {
            PeftApi.ScaleLayers(adapted, Argument(key, Scale)!.Value);
        }
        else
        {
            PeftApi.SetScale(adapted, subject.AdapterName, state.Factor);
        }
    }

    /// <summary>The number behind a word; <see langword="null"/> where there is none.</summary>
    private static double? Argument(string key, string word)
    {
        string rest = key[(key.IndexOf(word, StringComparison.Ordinal) + word.Length)..].TrimStart('_');
        return rest.Length == 0 ? null : double.Parse(rest, CultureInfo.InvariantCulture);
    }
}
