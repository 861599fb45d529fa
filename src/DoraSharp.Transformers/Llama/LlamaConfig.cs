using System.Runtime.CompilerServices;
using System.Text;

namespace DoraSharp.Transformers;

/// <summary>The shape of a Llama-family decoder: what a Hugging Face <c>config.json</c> says of it.</summary>
/// <remarks>
/// Immutable. Every value is checked where it is set; values that must fit together are checked where a config is read and where
/// a model is built from it.
/// </remarks>
public sealed record LlamaConfig
{
    private readonly int? headDimension;

    /// <summary>How many tokens there are. <c>vocab_size</c>.</summary>
    public required int VocabSize { get; init => field = Positive(value); }

    /// <summary>The width of the residual stream. <c>hidden_size</c>.</summary>
    public required int HiddenSize { get; init => field = Positive(value); }

    /// <summary>The width inside each MLP. <c>intermediate_size</c>.</summary>
    public required int IntermediateSize { get; init => field = Positive(value); }

    /// <summary>How many decoder layers there are. <c>num_hidden_layers</c>.</summary>
    public required int LayerCount { get; init => field = Positive(value); }

    /// <summary>How many query heads each layer has. <c>num_attention_heads</c>.</summary>
    public required int HeadCount { get; init => field = Positive(value); }

    /// <summary>How many key and value heads each layer has; each serves a block of query heads. <c>num_key_value_heads</c>.</summary>
    /// <value>A divisor of <see cref="HeadCount"/>, which is the default.</value>
    public int KeyValueHeadCount
    {
        get => field == 0 ? HeadCount : field;
        init => field = Positive(value);
    }

    /// <summary>The width of a head. <c>head_dim</c>.</summary>
    /// <value>An even number; the default is <see cref="HiddenSize"/> / <see cref="HeadCount"/>.</value>
    public int HeadDimension
    {
        get => headDimension ?? (HiddenSize / HeadCount);
        init => headDimension = Positive(value);
    }

    /// <summary>The longest sequence that the model was made for. <c>max_position_embeddings</c>. Longer ones run, but were not trained.</summary>
    /// <value>The default is 2048.</value>
    public int MaxPositions { get; init => field = Positive(value); } = 2048;

    /// <summary>The base θ of the rotary frequencies. <c>rope_theta</c>.</summary>
    /// <value>A finite number above 0; the default is 10,000.</value>
    public double RopeTheta { get; init => field = Positive(value); } = 10_000;

    /// <summary>How the rotary frequencies are stretched. <c>rope_scaling</c>, <c>rope_parameters</c>.</summary>
    /// <value><see langword="null"/>, the default, leaves them as they are (rope type <c>default</c>).</value>
    public RopeScaling? RopeScaling { get; init; }

    /// <summary>What is added to the mean square in each norm. <c>rms_norm_eps</c>.</summary>
    /// <value>A finite number above 0; the default is 1e-6.</value>
    public double RmsNormEpsilon { get; init => field = Positive(value); } = 1e-6;

    /// <summary>Whether the output layer is the embedding matrix itself. <c>tie_word_embeddings</c>.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Whether the q, k, v and o projections have biases. <c>attention_bias</c>.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether the gate, up and down projections have biases. <c>mlp_bias</c>.</summary>
    public bool MlpBias { get; init; }

    /// <summary>The token that starts a text. <c>bos_token_id</c>.</summary>
    public long? BosTokenId { get; init; }

    /// <summary>The tokens that end a text. <c>eos_token_id</c>.</summary>
    /// <value>Empty by default.</value>
    public IReadOnlyList<long> EosTokenIds
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(EosTokenIds))];
    } = [];

    /// <summary>Reads the text of a <c>config.json</c>, as transformers 4 or 5 writes it.</summary>
    /// <param name="json">The text.</param>
    /// <exception cref="InvalidDataException">The text is no JSON, lacks a value, or has one that is out of range.</exception>
    /// <exception cref="NotSupportedException">It describes another architecture, or a feature that this one lacks; the message names it.</exception>
    public static LlamaConfig FromJson(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        return LlamaConfigJson.Read(JsonFields.Parse(Encoding.UTF8.GetBytes(json), "config.json"));
    }

    /// <summary>Reads a <c>config.json</c>.</summary>
    /// <param name="path">The file, or the folder that holds it.</param>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">The file is no JSON, lacks a value, or has one that is out of range.</exception>
    /// <exception cref="NotSupportedException">It describes another architecture, or a feature that this one lacks; the message names it.</exception>
    public static LlamaConfig Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string file = Directory.Exists(path) ? Path.Combine(path, "config.json") : path;
        return File.Exists(file)
            ? LlamaConfigJson.Read(JsonFields.Load(file))
            : throw new FileNotFoundException($"'{file}' does not exist; a Hugging Face model folder holds config.json and model.safetensors.", file);
    }

    /// <summary>The text of a <c>config.json</c> that transformers 4 and 5 and <see cref="FromJson"/> read.</summary>
    public string ToJson() => LlamaConfigJson.Write(this, dtype: null);

    /// <summary>Checks what single values cannot tell.</summary>
    /// <exception cref="ArgumentException">Two values do not fit together.</exception>
    internal void Validate()
    {
        if (HeadCount % KeyValueHeadCount != 0)
        {
            throw new ArgumentException($"{HeadCount} attention heads cannot share {KeyValueHeadCount} key-value heads: the first must be a multiple of the second.");
        }

        if (headDimension is null && HiddenSize % HeadCount != 0)
        {
            throw new ArgumentException($"hidden size {HiddenSize} is not a multiple of the {HeadCount} attention heads, and no head dimension is given.");
        }

        if (HeadDimension == 0 || HeadDimension % 2 != 0)
        {
            throw new ArgumentException($"the head dimension is {HeadDimension} (hidden size {HiddenSize}, {HeadCount} heads): rotary embeddings need an even number above 0.");
        }

        if (RopeScaling is DynamicRopeScaling && HeadDimension == 2)
        {
            throw new ArgumentException("rope type dynamic needs a head dimension above 2.");
        }
    }

    private static int Positive(int value, [CallerMemberName] string name = "")
        => value > 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be 1 or more.");

    private static double Positive(double value, [CallerMemberName] string name = "")
        => double.IsFinite(value) && value > 0 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be a finite number above 0.");
}
