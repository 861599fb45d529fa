using System.CommandLine;
using System.CommandLine.Parsing;

namespace DoraSharp.Benchmarks;

/// <summary>The options that choose a part of the grid.</summary>
internal sealed class ScenarioOptions
{
    private readonly Option<string[]> shapes = new("--shape") { Description = "Measure this shape in place of the grid's: IN,OUT,TOKENS,RANK. Can be repeated, as the options below can.", HelpName = "SHAPE" };
    private readonly Option<string[]> sizes = new("--size") { Description = "Measure only layers of this size: IN,OUT.", HelpName = "SIZE" };
    private readonly Option<long[]> tokens = new("--tokens") { Description = "Measure only this number of tokens.", HelpName = "T" };
    private readonly Option<int[]> ranks = new("--rank") { Description = "Measure only this rank.", HelpName = "R" };
    private readonly Option<string[]> modes = new("--mode") { Description = "Measure only this mode." };
    private readonly Option<string[]> dtypes = new("--dtype") { Description = "Measure only this dtype." };
    private readonly Option<double[]> dropouts = new("--dropout") { Description = "Measure only this dropout (0 or 0.05).", HelpName = "P" };

    public ScenarioOptions()
    {
        modes.AcceptOnlyFromAmong([.. Names.Modes.Select(Names.Of)]);
        dtypes.AcceptOnlyFromAmong([.. Names.DTypes.Select(Names.Of)]);
        shapes.Validators.Add(result => Check(result, text => LayerShape.TryParse(text, out _), "shape", "IN,OUT,TOKENS,RANK, four positive numbers"));
        sizes.Validators.Add(result => Check(result, text => LayerShape.TryParseSize(text, out _), "size", "IN,OUT, two positive numbers"));
    }

    public IReadOnlyList<Option> All => [shapes, sizes, tokens, ranks, modes, dtypes, dropouts];

    public ScenarioFilter Read(ParseResult arguments) => new(
        [.. arguments.GetValue(shapes)!.Select(LayerShape.Parse)],
        [.. arguments.GetValue(sizes)!.Select(LayerShape.ParseSize)],
        arguments.GetValue(tokens)!,
        arguments.GetValue(ranks)!,
        [.. arguments.GetValue(modes)!.Select(Names.Mode)],
        [.. arguments.GetValue(dtypes)!.Select(Names.DType)],
        arguments.GetValue(dropouts)!);

    private static void Check(OptionResult result, Predicate<string> isValid, string noun, string form)
    {
        foreach (string text in result.Tokens.Select(token => token.Value).Where(text => !isValid(text)))
        {
            result.AddError($"'{text}' is no {noun}: give {form}.");
        }
    }
}
