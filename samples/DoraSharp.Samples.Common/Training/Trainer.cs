using System.Diagnostics;
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
        List<(int Step, double Loss)> measured = [(0, heldOut.Loss(model))];
        Stopwatch clock = new();
        model.train();
        for (int step = 1; step <= options.Steps; step++)
        {
            clock.Start();
            losses.Add(Step(model, parameters, text, options, random, optimizer));
            schedule.step();
            clock.Stop();
            double tokens = (double)step * options.BatchSize * options.WindowLength;
            report(new TrainingProgress(
                step, options.Steps, losses[^1], tokens / clock.Elapsed.TotalSeconds, clock.Elapsed * ((options.Steps - step) / (double)step)));
            if (step == options.Steps || IsMeasured(step, options))
            {
                measured.Add((step, heldOut.Loss(model)));
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
        optim.Optimizer optimizer)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor batch = text.RandomWindows(random, options.BatchSize, options.WindowLength);
        optimizer.zero_grad();
        Tensor loss = CausalLanguageModel.Loss(model.call(batch), batch);
        loss.backward();
        if (options.GradientNorm is { } norm)
        {
            nn.utils.clip_grad_norm_(parameters, norm);
        }

        optimizer.step();
        return loss.item<float>();
    }

    private static bool IsMeasured(int step, TrainingOptions options) =>
        (long)step * options.Evaluations / options.Steps > (long)(step - 1) * options.Evaluations / options.Steps;
}
