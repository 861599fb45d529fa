namespace DoraSharp;

/// <summary>What libtorch's engine is about, as seen from a node that it runs.</summary>
internal static unsafe class AutogradEngine
{
    private static readonly delegate* unmanaged<nint, byte> IsCheckpointValid = (delegate* unmanaged<nint, byte>)LibTorchSymbols.Find("_ZN5torch8autograd6Engine19is_checkpoint_validEv");

    /// <summary>
    /// True in a <c>backward()</c> that adds to the <c>grad</c> of every leaf; false in <c>autograd.grad</c>, which is after some tensors alone. True as well
    /// where the engine cannot be asked (another platform's name mangling).
    /// </summary>
    public static bool GathersAllGradients => IsCheckpointValid is null || IsCheckpointValid(0) != 0;
}
