namespace DoraSharp.Benchmarks;

/// <summary>A method's name in tables and files, how it is made, and the arithmetic limit of what it computes.</summary>
internal sealed record MethodDefinition(string Name, Func<Problem, Method> Create, Func<Scenario, double> Limit);
