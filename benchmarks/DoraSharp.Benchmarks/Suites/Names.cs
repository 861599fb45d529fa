using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>How devices, dtypes and modes are written on the command line, in the tables and in the JSON file.</summary>
internal static class Names
{
    public const string Cpu = "cpu";
    public const string Cuda = "cuda";

    public static IReadOnlyList<string> Devices { get; } = [Cpu, Cuda];

    public static IReadOnlyList<ScalarType> DTypes { get; } = [ScalarType.Float32, ScalarType.BFloat16];

    public static IReadOnlyList<StepMode> Modes { get; } = Enum.GetValues<StepMode>();

    public static string Of(Device device) => device.type == DeviceType.CUDA ? Cuda : Cpu;

    public static string Of(ScalarType dtype) => Lower(dtype.ToString());

    public static string Of(StepMode mode) => Lower(mode.ToString());

    public static ScalarType DType(string name) => DTypes.First(dtype => Of(dtype) == name);

    public static StepMode Mode(string name) => Modes.First(mode => Of(mode) == name);

#pragma warning disable CA1308 // The names are lower case by definition; nothing is compared with them in upper case.
    private static string Lower(string name) => name.ToLowerInvariant();
#pragma warning restore CA1308
}
