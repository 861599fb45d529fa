using System.CommandLine;
using DoraSharp.Samples;
using Spectre.Console;

namespace DoraSharp.Experiments.Quantization;

/// <summary>The command <c>quantization</c>.</summary>
internal static class QuantizationCommandLine
{
    /// <summary>Its options and what it runs.</summary>
    public static Command Build(IAnsiConsole console)
    {
        Option<string> model = new("--model") { Description = "Hugging Face folder of a Llama-family model", Required = true };
        Option<string> data = new("--data") { Description = "Text file to adapt to; its last tenth is held out", Required = true };
        Option<string?> json = new("--json") { Description = "File for the figures of every run" };
        Option<int> steps = new("--steps") { Description = "Optimizer steps of each run", DefaultValueFactory = _ => 150 };
        Option<int> rank = new("--rank") { Description = "Rank of the adapters; their alpha is twice that", DefaultValueFactory = _ => 8 };
        Option<int> seeds = new("--seeds") { Description = "Runs of each method at each learning rate", DefaultValueFactory = _ => 5 };
        Option<double[]> rates = new("--rates")
        {
            Description = "Learning rates to try; full fine-tuning tries a third of each",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [1e-3, 3e-3, 6e-3],
        };
        Command command = new("quantization", "QLoRA and QDoRA against LoRA, DoRA and full fine-tuning, with equal steps and equal learning-rate sweeps.")
        {
            model, data, json, steps, rank, seeds, rates,
        };
        command.SetAction(arguments => UserErrors.Report(() => QuantizationExperiment.Run(
            new(arguments.GetRequiredValue(model), arguments.GetRequiredValue(data))
            {
                Json = arguments.GetValue(json),
                Steps = arguments.GetValue(steps),
                Rank = arguments.GetValue(rank),
                Seeds = arguments.GetValue(seeds),
                Rates = arguments.GetRequiredValue(rates),
            },
            console)));
        return command;
    }
}
