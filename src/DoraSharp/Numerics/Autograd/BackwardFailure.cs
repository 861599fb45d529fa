using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace DoraSharp;

/// <summary>Lets the user see why a <see cref="GradientNode"/> failed.</summary>
/// <remarks>
/// libtorch ends the backward pass with an error of its own, of which TorchSharp makes an <see cref="ExternalException"/> somewhere behind the
/// caller's <c>backward()</c>. That very exception gets the cause, on its way out.
/// </remarks>
internal static class BackwardFailure
{
    private const string SignOfFailure = "returned an invalid number of gradients";

    private static readonly Lock Gate = new();
    private static Exception? pending;

    /// <summary>Makes an exception the cause of the one that the caller of <c>backward()</c> is about to get.</summary>
    public static void Report(Exception cause)
    {
        Trace.TraceError($"The backward pass failed: {cause}");
        lock (Gate)
        {
            if (pending is null)
            {
                AppDomain.CurrentDomain.FirstChanceException += Complete;
            }

            pending = cause;
        }
    }

    private static void Complete(object? sender, FirstChanceExceptionEventArgs thrown)
    {
        if (thrown.Exception is not ExternalException exception || !exception.Message.Contains(SignOfFailure, StringComparison.Ordinal))
        {
            return;
        }

        lock (Gate)
        {
            if (pending is { } cause)
            {
                pending = null;
                AppDomain.CurrentDomain.FirstChanceException -= Complete;
                Inner(exception) = cause;
                Message(exception) = $"The backward pass failed: {cause.Message}";
            }
        }
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_innerException")]
    private static extern ref Exception? Inner(Exception exception);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_message")]
    private static extern ref string? Message(Exception exception);
}
