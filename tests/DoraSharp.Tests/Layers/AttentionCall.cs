namespace DoraSharp.Tests.Layers;

/// <summary>How an attention is called, and by that what weights it has.</summary>
public enum AttentionCall
{
    /// <summary>Queries, keys and values are one tensor.</summary>
    Self,

    /// <summary>Keys and values are one tensor.</summary>
    Memory,

    /// <summary>Three tensors of one width.</summary>
    Cross,

    /// <summary>Keys and values of another width.</summary>
    OtherWidths,

    /// <summary>Three widths, which libtorch cannot run.</summary>
    UnlikeWidths,
}
