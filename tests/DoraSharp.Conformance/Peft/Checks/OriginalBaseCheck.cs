using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>An adapter whose initialisation changed the base, saved as one for the original base: the rank doubles, the output stays.</summary>
internal static class OriginalBaseCheck
{
    private const string Prefix = "residual.";
    private const string Trained = "trained";
    private const string Initial = "initial";

    public static bool AppliesTo(PeftCase subject) => subject.File.Kind == "convert" && Directory.Exists(Path.Combine(subject.Folder, Trained));

    public static void Run(PeftCase subject)
    {
        using CaseModel model = subject.NewModel();
        using (no_grad())
        {
            foreach ((string name, Tensor value) in subject.Io.ReadAll(Prefix))
            {
                model.Parameter(name).copy_(value);
            }
        }

        using AdaptedModel adapted = AdaptedModel.Load(model, Path.Combine(subject.Folder, Trained));
        OutputCheck.CheckSettings(subject, adapted);
        model.eval();
        subject.Expect.Close("y on the changed base", subject.Run(model), subject.Io.Read("y"));

        string folder = Path.Combine(subject.Temporary, "converted");
        PeftApi.SaveForOriginalBase(adapted, folder, Path.Combine(subject.Folder, Initial));
        using CaseModel original = subject.NewModel();
        using AdaptedModel converted = AdaptedModel.Load(original, folder);
        original.eval();
        subject.Expect.Close("y of the converted adapter on the original base", subject.Run(original), subject.Io.Read("y"));
        const string file = "adapter_model.safetensors";
        FilesCheck.CheckTensors(subject, file, Path.Combine(folder, file), Path.Combine(subject.FolderOf(subject.File.Adapters[0]), file));
    }
}
