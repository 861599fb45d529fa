using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Runs and times the steps of one method.</summary>
internal sealed class Step(Method method, Problem problem, Func<double> clock)
{
    private readonly Tensor[] outputGradient = [problem.OutputGradient];

    /// <summary>
    /// Milliseconds of one (micro) step: forward and, in training, backward to x and to the adapter's parameters. What lies
    /// between steps, an optimizer's change of the parameters, is done before the clock starts.
    /// </summary>
    public double Run()
    {
        Scenario scenario = problem.Scenario;
        if (scenario.HasBackward)
        {
            method.FinishOptimizerStep();
        }

        double start = clock();
        for (int i = 0; i < scenario.MicroSteps; i++)
        {
            RunOnce();
        }

        return (clock() - start) / scenario.MicroSteps;
    }

    private void RunOnce()
    {
        using var scope = NewDisposeScope();
        if (!problem.Scenario.HasBackward)
        {
            using var noGrad = no_grad();
            method.Forward(problem.Input);
            return;
        }

        method.Forward(problem.Input).backward(outputGradient);

        // In a model, x's gradient goes on to the layer below and is not gathered.
        problem.Input.grad = null;
    }
}
