using TorchSharp.Modules;

namespace DoraSharp.Tests;

internal static class BaseLayers
{
    extension(AdaptedLinear layer)
    {
        /// <summary>The frozen layer where it is dense.</summary>
        public Linear BaseLayer => (Linear)layer.BaseModule;
    }
}
