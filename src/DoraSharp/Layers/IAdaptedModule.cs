using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A module that stands in for a frozen one in a model.</summary>
internal interface IAdaptedModule : IDisposable
{
    /// <summary>The frozen module.</summary>
    nn.Module BaseModule { get; }

    /// <summary>Its adapted weights.</summary>
    IReadOnlyList<AdaptedWeight> Weights { get; }

    /// <summary>Whether disposing this module disposes the frozen one.</summary>
    bool OwnsBase { get; set; }
}
