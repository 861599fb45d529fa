namespace DoraSharp.Samples;

/// <summary>Turns the errors that users make into exit codes.</summary>
public static class UserErrors
{
    /// <summary>Runs a command; a <see cref="UserException"/> becomes one line on standard error and exit code 1.</summary>
    public static int Report(Func<int> command)
    {
        try
        {
            return command();
        }
        catch (UserException e)
        {
            Console.Error.WriteLine("error: " + e.Message.ReplaceLineEndings(" "));
            return 1;
        }
    }
}
