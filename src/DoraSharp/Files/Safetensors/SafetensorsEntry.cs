using TorchSharp;

namespace DoraSharp;

/// <summary>One tensor of a safetensors file, as its header describes it; every value has been checked against the file.</summary>
/// <param name="Name">The tensor's name, unique in the file.</param>
/// <param name="DType">The type of its elements.</param>
/// <param name="Shape">Its dimensions; empty for a scalar. A dimension may be 0.</param>
/// <param name="ByteOffset">Where its data begin, counted from the start of the file.</param>
/// <param name="ByteLength">How many bytes its data take.</param>
public sealed record SafetensorsEntry(string Name, torch.ScalarType DType, IReadOnlyList<long> Shape, long ByteOffset, long ByteLength);
