using Spectre.Console;
using Spectre.Console.Rendering;

namespace DoraSharp.Samples;

/// <summary>Step, loss, speed and remaining time beside a progress bar.</summary>
internal sealed class TrainingColumn : ProgressColumn
{
    /// <summary>Where the task's state holds its <see cref="TrainingProgress"/>.</summary>
    public const string Key = nameof(TrainingProgress);

    protected override bool NoWrap => true;

    public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
        new Text(task.State.Get<TrainingProgress>(Key) is { Steps: > 0 } progress ? TrainingDisplay.Describe(progress) : "");
}
