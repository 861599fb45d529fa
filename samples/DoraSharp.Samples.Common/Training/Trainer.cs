using System.Diagnostics;
using System.Globalization;
using DoraSharp.Transformers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Samples;

/// <summary>Trains a causal language model with AdamW on random windows of a text.</summary>
public static class Trainer
{
    /// <summary>
    /// Trains <paramref name="parameters"/>, which are all or some of the model's, and leaves the rest alone. The same
    /// model, text, options and number of threads give the same weights.
    /// </summary>
    /// <exception cref="UserException">The loss is no longer a number: the training has diverged.</exception>
    public static TrainingCurve Train(
        nn.Module<Tensor, Tensor> model,
        IReadOnlyList<Parameter> parameters,
        TokenStream text,
        HeldOutText heldOut,
        TrainingOptions options,
        Action<TrainingProgress> report)
    {
        using optim.Optimizer optimizer = optim.AdamW(parameters, options.LearningRate, weight_decay: options.WeightDecay);
        optim.lr_scheduler.LRScheduler schedule = optim.lr_scheduler.LambdaLR(optimizer, options.Schedule);
        Random random = new(options.Seed);
        List<double> losses = [];
        List<(int Step, double Loss)> measured = [(0, RequireFinite(heldOut.Loss(model), 0))];
        Stopwatch clock = new();
        model.train();
        for (int step = 1; step <= options.Steps; step++)
        {
            clock.Start();
            losses.Add(Step(model, parameters, text, options, random, optimizer, step));
            schedule.step();
            clock.Stop();
            double tokens = (double)step * options.BatchSize * options.WindowLength;
            report(new TrainingProgress(
                step, options.Steps, losses[^1], tokens / clock.Elapsed.TotalSeconds, clock.Elapsed * ((options.Steps - step) / (double)step)));
            if (step == options.Steps || IsMeasured(step, options))
            {
                measured.Add((step, RequireFinite(heldOut.Loss(model), step)));
            }
        }

        model.eval();
        return new TrainingCurve(losses, measured, clock.Elapsed);
    }

    private static double Step(
        nn.Module<Tensor, Tensor> model,
        IReadOnlyList<Parameter> parameters,
        TokenStream text,
        TrainingOptions options,
        Random random,
        optim.Optimizer optimizer,
        int step)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor batch = text.RandomWindows(random, options.BatchSize, options.WindowLength);
        optimizer.zero_grad();
        Tensor loss = CausalLanguageModel.Loss(model.call(batch), batch);
        double value = RequireFinite(loss.item<float>(), step);
        loss.backward();
        if (options.GradientNorm is { } norm)
        {
            nn.utils.clip_grad_norm_(parameters, norm);
        }

        optimizer.step();
        return value;
    }

    private static double RequireFinite(double loss, int step)
    {
        if (double.IsFinite(loss))
        {
            return loss;
        }

        string value = loss.ToString(CultureInfo.InvariantCulture);
        throw new UserException(step == 0
            ? $"the model's loss is {value} before it is trained: its weights are damaged"
            : $"the loss became {value} at step {step}; lower the learning rate");
    }

    private static bool IsMeasured(int step, TrainingOptions options) =>
        (long)step * options.Evaluations / options.Steps > (long)(step - 1) * options.Evaluations / options.Steps;
}
