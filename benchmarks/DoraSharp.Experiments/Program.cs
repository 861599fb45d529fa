using System.CommandLine;
using System.CommandLine.Invocation;
using DoraSharp.Experiments.Quantization;
using DoraSharp.Samples;
using Spectre.Console;

const int WidthOfFiles = 160;

OpenMp.LetWaitingThreadsSleep();
if (Console.IsOutputRedirected)
{
    AnsiConsole.Profile.Width = WidthOfFiles;
}

RootCommand command = new("Experiments that take longer than a test: what the methods reach on a real model.")
{
    QuantizationCommandLine.Build(AnsiConsole.Console),
};
ParseResult parsed = command.Parse(args);
return parsed.Action is ParseErrorAction
    ? UserErrors.Report(() => throw new UserException(parsed.Errors[0].Message))
    : parsed.Invoke();
