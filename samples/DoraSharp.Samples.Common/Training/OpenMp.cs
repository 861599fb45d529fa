using System.Runtime.InteropServices;

namespace DoraSharp.Samples;

/// <summary>Settings of the OpenMP runtime that libtorch's threads run on.</summary>
public static partial class OpenMp
{
    /// <summary>
    /// Lets threads sleep while they wait for each other. By default they spin, which on a machine that is busy with
    /// other work as well makes small models train ten times slower. Call it before the first tensor operation: the
    /// runtime reads its environment when it is loaded. A value that the user has set is kept.
    /// </summary>
    public static void LetWaitingThreadsSleep()
    {
        if (OperatingSystem.IsLinux())
        {
            // .NET's own Environment does not reach native libraries.
            _ = SetEnvironment("OMP_WAIT_POLICY", "passive", overwrite: 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
