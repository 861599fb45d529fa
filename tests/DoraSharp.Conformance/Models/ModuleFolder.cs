using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A module that only holds others: what lies between the root and a nested path.</summary>
internal sealed class ModuleFolder() : nn.Module(nameof(ModuleFolder));
