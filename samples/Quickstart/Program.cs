using System.CommandLine;
using System.CommandLine.Invocation;
using DoraSharp.Samples;
using DoraSharp.Samples.Quickstart;
using Spectre.Console;

const int WidthOfFiles = 160;

OpenMp.LetWaitingThreadsSleep();
QuickstartOptions defaults = new();
Option<string> model = new("--model") { Description = "Hugging Face folder of a Llama-family model (default: the bundled one)" };
Option<string> data = new("--data") { Description = "Text file to adapt to (default: the documentation of ASP.NET Core in the .NET SDK)" };
Option<string> output = new("--output") { Description = "Folder for the plot and the adapter", DefaultValueFactory = _ => defaults.Output };
Option<string> json = new("--json") { Description = "File for the figures" };
Option<string[]> method = new("--method") { Description = "Method to compare, several times for several: full, lora, dora, qlora, qdora (default: the first three)" };
Option<int> steps = new("--steps") { Description = "Optimizer steps of each method", DefaultValueFactory = _ => defaults.Steps };
Option<int> rank = new("--rank") { Description = "Rank of the adapters; their alpha is twice that", DefaultValueFactory = _ => defaults.Rank };
Option<double> rate = new("--learning-rate")
{
    Description = "Learning rate of the adapters; full fine-tuning gets a third",
    DefaultValueFactory = _ => defaults.LearningRate,
};
Option<int> seed = new("--seed") { Description = "Seed of first values and batches", DefaultValueFactory = _ => defaults.Seed };

RootCommand command = new("Adapts a pretrained Llama to new text by full fine-tuning, LoRA and DoRA, over 4-bit weights too, and compares them.")
{
    model, data, output, json, method, steps, rank, rate, seed,
};
command.SetAction(arguments => UserErrors.Report(() => QuickstartCommand.Run(
    defaults with
    {
        Model = arguments.GetValue(model) ?? defaults.Model,
        Data = arguments.GetValue(data),
        Output = arguments.GetRequiredValue(output),
        Json = arguments.GetValue(json),
        Methods = arguments.GetValue(method) is { Length: > 0 } methods ? methods : defaults.Methods,
        Steps = arguments.GetValue(steps),
        Rank = arguments.GetValue(rank),
        LearningRate = arguments.GetValue(rate),
        Seed = arguments.GetValue(seed),
    },
    AnsiConsole.Console)));
if (Console.IsOutputRedirected)
{
    AnsiConsole.Profile.Width = WidthOfFiles;
}

// The library's own way would print the whole help after each error.
ParseResult parsed = command.Parse(args);
return parsed.Action is ParseErrorAction
    ? UserErrors.Report(() => throw new UserException(parsed.Errors[0].Message))
    : parsed.Invoke();
