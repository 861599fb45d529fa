using System.Runtime.CompilerServices;
using static TorchSharp.torch;

[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace DoraSharp.Transformers.Tests;

internal static class TestAssembly
{
    /// <summary>The tests' matrices are small: threads would cost more than they bring.</summary>
    [ModuleInitializer]
    public static void UseOneThread() => set_num_threads(1);
}
