using System.Globalization;

namespace DoraSharp;

/// <summary>How a fresh adapter's A and B start. Every kind but <see cref="Random"/> leaves the layer's output unchanged.</summary>
/// <remarks>The twin of PEFT's <c>init_lora_weights</c>. Kinds that decompose the base weight put s·B·A into the adapter and what is left into the base.</remarks>
public sealed record LoraInitialization
{
    private LoraInitialization(string name, int iterations = 0)
    {
        Name = name;
        Iterations = iterations;
    }

    /// <summary>A Kaiming uniform (a = √5), B zero; for embeddings A zero, B normal. PEFT: <c>true</c>, its default.</summary>
    public static LoraInitialization Kaiming { get; } = new("kaiming");

    /// <summary>A normal with standard deviation 1/r, B zero. PEFT: <c>"gaussian"</c>.</summary>
    public static LoraInitialization Gaussian { get; } = new("gaussian");

    /// <summary>A and B both random, so that the fresh adapter changes the output: for tests. PEFT: <c>false</c>.</summary>
    public static LoraInitialization Random { get; } = new("random");

    /// <summary>A and B random with orthogonal ranges, so that B·A = 0 although neither is zero; the rank must be even. PEFT: <c>"orthogonal"</c>.</summary>
    public static LoraInitialization Orthogonal { get; } = new("orthogonal");

    /// <summary>The principal singular triples of W (PiSSA, arXiv 2404.02948); the base keeps the rest. PEFT: <c>"pissa"</c>.</summary>
    public static LoraInitialization Pissa { get; } = new("pissa");

    /// <summary>The QR decomposition of W (OLoRA, arXiv 2406.01775); the base keeps the rest. PEFT: <c>"olora"</c>.</summary>
    public static LoraInitialization Olora { get; } = new("olora");

    /// <summary>The principal components of the layer's inputs (EVA, arXiv 2410.07170): needs data. PEFT: <c>"eva"</c>.</summary>
    public static LoraInitialization Eva { get; } = new("eva");

    /// <summary>Context-oriented decomposition (CorDA, arXiv 2406.05223): needs data; the base keeps the rest. PEFT: <c>"corda"</c>.</summary>
    public static LoraInitialization Corda { get; } = new("corda");

    /// <summary>Alternating quantization and decomposition (LoftQ, arXiv 2310.08659); the base becomes the quantized weight. PEFT: <c>"loftq"</c>.</summary>
    public static LoraInitialization Loftq { get; } = new("loftq");

    /// <summary>Singular vectors of the weight's gradient (LoRA-GA, arXiv 2407.05000): needs data; the base keeps the rest. PEFT: <c>"lora_ga"</c>.</summary>
    public static LoraInitialization LoraGa { get; } = new("lora_ga");

    /// <summary>The kind's name.</summary>
    public string Name { get; }

    /// <summary>The number of subspace iterations of <see cref="PissaFast"/>; 0 for every other kind.</summary>
    public int Iterations { get; }

    /// <summary>Whether the method takes its update out of the base weight.</summary>
    internal bool ChangesBase => Iterations > 0 || this == Pissa || this == Olora || this == Corda || this == Loftq || this == LoraGa;

    /// <summary>Whether the method looks at data.</summary>
    internal bool NeedsData => this == Eva || this == Corda || this == LoraGa;

    /// <summary>PiSSA by a randomised decomposition. PEFT: <c>"pissa_niter_n"</c>.</summary>
    /// <param name="iterations">The number of subspace iterations, 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are none.</exception>
    public static LoraInitialization PissaFast(int iterations)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        return new(string.Create(CultureInfo.InvariantCulture, $"pissa_niter_{iterations}"), iterations);
    }

    /// <summary>The kind's name.</summary>
    public override string ToString() => Name;
}
