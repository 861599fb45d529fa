namespace DoraSharp;

/// <summary>One thing to do while a checkpoint is loaded; all steps have been checked against the headers.</summary>
/// <param name="name">What the step gives a value to, by its name in the model.</param>
internal abstract class CheckpointStep(string name)
{
    public string Name => name;

    /// <summary>Does it.</summary>
    /// <param name="checkpoint">The file.</param>
    /// <param name="options">How.</param>
    /// <param name="buffer">Where weights are read that are dense for a moment only.</param>
    public abstract void Run(SafetensorsCheckpoint checkpoint, CheckpointOptions options, CheckpointBuffer buffer);
}
