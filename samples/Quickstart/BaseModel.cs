using System.Text.Json;
using DoraSharp.Transformers;
using static TorchSharp.torch;

namespace DoraSharp.Samples.Quickstart;

/// <summary>The pretrained model that all methods start from, in a Hugging Face folder.</summary>
public sealed class BaseModel
{
    private readonly string folder;

    private BaseModel(string folder, LlamaConfig config, HuggingFaceTokenizer tokenizer) =>
        (this.folder, Config, Tokenizer) = (folder, config, tokenizer);

    /// <summary>The model's shape.</summary>
    public LlamaConfig Config { get; }

    /// <summary>The model's tokenizer.</summary>
    public HuggingFaceTokenizer Tokenizer { get; }

    /// <summary>Opens a folder with <c>config.json</c>, safetensors and <c>tokenizer.json</c>.</summary>
    /// <exception cref="UserException">The folder has no Llama-family model and tokenizer that can be read.</exception>
    public static BaseModel Open(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new UserException($"--model {folder}: there is no such folder");
        }

        return Explain(folder, () => new BaseModel(folder, LlamaConfig.Load(folder), HuggingFaceTokenizer.Load(folder)));
    }

    /// <summary>A fresh copy of the weights, in float32.</summary>
    /// <exception cref="UserException">The weights cannot be read.</exception>
    public LlamaForCausalLM LoadWeights() => Explain(folder, () => LlamaForCausalLM.Load(folder, ScalarType.Float32));

    /// <summary>The documents' tokens.</summary>
    /// <exception cref="UserException">The tokenizer belongs to another model.</exception>
    public TokenStream Encode(IEnumerable<Document> documents)
    {
        TokenStream stream = TokenStream.Encode(Tokenizer, documents);
        return stream.Highest < Config.VocabSize
            ? stream
            : throw new UserException(
                $"--model {folder}: the tokenizer gives id {stream.Highest}, but the model has {Config.VocabSize} embeddings; they do not belong together");
    }

    private static T Explain<T>(string folder, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or NotSupportedException or ArgumentException or JsonException)
        {
            throw new UserException($"--model {folder}: {e.Message}", e);
        }
    }
}
