namespace DoraSharp.Conformance;

/// <summary>Whether the library refuses something.</summary>
internal static class Refusal
{
    /// <summary>The library's answer to what it must refuse; <see langword="null"/> where it accepts. Other errors pass.</summary>
    public static Exception? Of(Action action)
    {
        try
        {
            action();
            return null;
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or InvalidDataException)
        {
            return e;
        }
    }
}
