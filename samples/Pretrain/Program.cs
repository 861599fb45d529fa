using System.CommandLine;
using DoraSharp.Samples;
using DoraSharp.Samples.Pretrain;
using Spectre.Console;

OpenMp.LetWaitingThreadsSleep();
Option<DirectoryInfo> output = new("--output")
{
    Description = "Folder to write the model to",
    DefaultValueFactory = _ => new DirectoryInfo(Path.Combine("samples", "Quickstart", "model")),
};
Option<int> steps = new("--steps") { Description = "Optimizer steps", DefaultValueFactory = _ => 5500 };
Option<int> seed = new("--seed") { Description = "Seed of the weights and of the batches", DefaultValueFactory = _ => 1 };
Option<int> threads = new("--threads") { Description = "Threads for tensor operations", DefaultValueFactory = _ => 2 };
RootCommand command = new("Trains Quickstart's base model on the documentation of the .NET class library.") { output, steps, seed, threads };
command.SetAction(arguments => UserErrors.Report(() => Pretraining.Run(
    new PretrainOptions(arguments.GetRequiredValue(output), arguments.GetValue(steps), arguments.GetValue(seed), arguments.GetValue(threads)),
    PretrainingText.Read(),
    AnsiConsole.Console)));
return command.Parse(args).Invoke();
