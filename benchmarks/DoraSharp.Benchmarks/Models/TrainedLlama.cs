using DoraSharp.Transformers;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>A model that a method trains, with its optimizer.</summary>
internal sealed class TrainedLlama : IDisposable
{
    private const double LearningRate = 1e-4;

    private readonly LlamaSetting setting;
    private readonly LlamaForCausalLM model;
    private readonly IReadOnlyList<IDisposable> parts;
    private readonly AdamW? optimizer;

    /// <param name="setting">The model's shape and the batch.</param>
    /// <param name="model">The model, which this takes over.</param>
    /// <param name="trained">What trains; nothing for a frozen model.</param>
    /// <param name="parts">What the method added to the model, disposed before it.</param>
    public TrainedLlama(LlamaSetting setting, LlamaForCausalLM model, IEnumerable<Parameter> trained, params IReadOnlyList<IDisposable> parts)
    {
        this.setting = setting;
        this.model = model;
        this.parts = parts;
        Trained = [.. trained];
        optimizer = Trained.Count > 0 ? optim.AdamW(Trained, LearningRate) : null;
    }

    /// <summary>The parameters that train; of adapters A, B and m of each layer.</summary>
    public IReadOnlyList<Parameter> Trained { get; }

    /// <summary>The loss and, in the parameters, its gradients.</summary>
    public double Backward()
    {
        using var scope = NewDisposeScope();
        Tensor loss = CausalLanguageModel.Loss(model.call(setting.Ids), setting.Ids);
        loss.backward();
        return loss.item<float>();
    }

    /// <summary>One optimizer step after so many forward and backward passes.</summary>
    /// <returns>Milliseconds per pass.</returns>
    public double Step(int microSteps, Func<double> clock)
    {
        double start = clock();
        for (int i = 0; i < microSteps; i++)
        {
            using var scope = NewDisposeScope();
            Tensor loss = CausalLanguageModel.Loss(model.call(setting.Ids), setting.Ids) / microSteps;
            loss.backward();
        }

        if (optimizer is not null)
        {
            using (NewDisposeScope())
            {
                optimizer.step();
            }

            optimizer.zero_grad();
        }

        return (clock() - start) / microSteps;
    }

    /// <summary>Drops the gradients.</summary>
    public void ZeroGrad() => optimizer?.zero_grad();

    public void Dispose()
    {
        optimizer?.Dispose();
        foreach (IDisposable part in parts)
        {
            part.Dispose();
        }

        model.Dispose();
    }
}
