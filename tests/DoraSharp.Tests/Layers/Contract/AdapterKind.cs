namespace DoraSharp.Tests.Layers.Contract;

/// <summary>The kinds of adapters of the contract.</summary>
public enum AdapterKind
{
    Lora,
    Dora,
    LoraWithBias,
    Vera,
    Dvora,
}
