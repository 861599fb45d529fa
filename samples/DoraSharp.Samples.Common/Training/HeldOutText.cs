using DoraSharp.Transformers;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Samples;

/// <summary>Text that a model is measured on and never trained on.</summary>
public sealed class HeldOutText : IDisposable
{
    private readonly Tensor windows;

    /// <summary>Takes at most <paramref name="count"/> windows from all over the stream.</summary>
    /// <exception cref="UserException">The stream is shorter than a window.</exception>
    public HeldOutText(TokenStream stream, int count, int length)
    {
        stream.RequireWindow(length, "the held-out part of the text");
        windows = stream.SpreadWindows(count, length);
    }

    /// <summary>The mean loss of the model's next-token predictions, in nats per token; leaves the model in its mode.</summary>
    public double Loss(nn.Module<Tensor, Tensor> model)
    {
        bool training = model.training;
        model.eval();
        using IDisposable noGradient = inference_mode();
        double sum = 0;
        const int rows = 8;
        for (long start = 0; start < windows.shape[0]; start += rows)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor batch = windows.narrow(0, start, Math.Min(rows, windows.shape[0] - start));
            sum += CausalLanguageModel.Loss(model.call(batch), batch).item<float>() * batch.shape[0];
        }

        model.train(training);
        return sum / windows.shape[0];
    }

    /// <inheritdoc/>
    public void Dispose() => windows.Dispose();
}
