using System.CommandLine;

namespace DoraSharp.Benchmarks;

/// <summary>One kind of benchmark, chosen on the command line by a switch of its name.</summary>
internal abstract class Suite
{
    /// <summary>The switch without its dashes.</summary>
    public abstract string Name { get; }

    /// <summary>What the switch does, for the command line's help.</summary>
    public abstract string Description { get; }

    /// <summary>The options that this suite alone reads.</summary>
    public virtual IReadOnlyList<Option> Options => [];

    /// <summary>The hidden commands that this suite starts its child processes with.</summary>
    public virtual IReadOnlyList<Command> ChildCommands => [];

    /// <summary>Measures, and reports while it does.</summary>
    public abstract void Run(SuiteRun run);
}
