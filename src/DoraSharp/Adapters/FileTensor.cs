using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A trained tensor in an adapter's file.</summary>
/// <param name="Part">The part of its name that follows the module's path.</param>
/// <param name="Value">The tensor.</param>
/// <param name="Shape">Its shape in the file; the same elements in the same order.</param>
internal readonly record struct FileTensor(string Part, Tensor Value, long[] Shape);
