namespace DoraSharp;

/// <summary>Runs an action once, when it is disposed.</summary>
internal sealed class Scope(Action end) : IDisposable
{
    private Action? end = end;

    public void Dispose() => Interlocked.Exchange(ref end, null)?.Invoke();
}
