namespace DoraSharp;

/// <summary>One thing to do while a checkpoint is loaded; all steps have been checked against the headers.</summary>
/// <param name="name">What the step gives a value to, by its name in the model.</param>
internal abstract class CheckpointStep(string name)
{
    public string Name => name;

    public abstract void Run(SafetensorsCheckpoint checkpoint, CheckpointOptions options);
}
