using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Keeps a model in evaluation mode; afterwards each module trains that did before.</summary>
internal sealed class EvaluationMode : IDisposable
{
    private readonly List<(nn.Module Module, bool Trains)> modules;

    public EvaluationMode(nn.Module model)
    {
        // Parents come first: setting one sets its children, which are then set to their own state.
        modules = [(model, model.training), .. model.named_modules().Select(entry => (entry.module, entry.module.training))];
        model.eval();
    }

    public void Dispose()
    {
        foreach ((nn.Module module, bool trains) in modules)
        {
            module.train(trains);
        }
    }
}
