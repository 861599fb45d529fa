namespace DoraSharp;

/// <summary>Something that is done here and that PEFT refuses: it cannot load what comes of it.</summary>
/// <param name="Reason">Why PEFT refuses it.</param>
/// <param name="Path">Where.</param>
/// <param name="Message">What it is.</param>
internal sealed record PeftRefusal(TargetingError Reason, string Path, string Message);
