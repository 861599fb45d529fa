namespace DoraSharp.Conformance;

/// <summary>A step of a model's forward over named values.</summary>
/// <param name="Op">What is done: <c>call</c>, <c>mha</c>, <c>tanh</c>, <c>add</c>.</param>
/// <param name="In">The names of the values that go in.</param>
/// <param name="Out">The name of the value that comes out.</param>
/// <param name="Module">The path of the module that is called.</param>
internal sealed record ForwardStep(string Op, IReadOnlyList<string> In, string Out, string? Module);
