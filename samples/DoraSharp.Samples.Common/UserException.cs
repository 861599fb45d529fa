namespace DoraSharp.Samples;

/// <summary>Something that the user can put right; the message is one line that says what and how.</summary>
public sealed class UserException : Exception
{
    /// <summary>With the default message.</summary>
    public UserException()
    {
    }

    /// <summary>With a message for the user.</summary>
    public UserException(string message)
        : base(message)
    {
    }

    /// <summary>With a message for the user and the exception that it came from.</summary>
    public UserException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
