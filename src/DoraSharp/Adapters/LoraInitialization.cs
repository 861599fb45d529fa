namespace DoraSharp;

/// <summary>How a fresh adapter's A and B start. Every kind but <see cref="Random"/> leaves the layer's output unchanged.</summary>
public enum LoraInitialization
{
    /// <summary>A Kaiming uniform (a = √5), B zero. PEFT: <c>true</c>, its default.</summary>
    Kaiming,

    /// <summary>A normal with standard deviation 1/r, B zero. PEFT: <c>"gaussian"</c>.</summary>
    Gaussian,

    /// <summary>A and B both Kaiming uniform, so that the fresh adapter changes the output: for tests. PEFT: <c>false</c>.</summary>
    Random,
}
