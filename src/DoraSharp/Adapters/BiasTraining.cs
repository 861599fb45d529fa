namespace DoraSharp;

/// <summary>Which biases of the model train with an adapter. PEFT: <c>bias</c>.</summary>
public enum BiasTraining
{
    /// <summary>None.</summary>
    None,

    /// <summary>Every bias of the model. PEFT: <c>"all"</c>.</summary>
    All,

    /// <summary>Those of the adapted layers. PEFT: <c>"lora_only"</c>, <c>"vera_only"</c>.</summary>
    LoraOnly,
}
