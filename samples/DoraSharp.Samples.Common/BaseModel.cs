using System.Text.Json;
using System.Text.RegularExpressions;
using DoraSharp.Transformers;
using static TorchSharp.torch;

namespace DoraSharp.Samples;

/// <summary>The pretrained model that all methods start from, in a Hugging Face folder.</summary>
public sealed class BaseModel
{
    private const int ShortestText = 2;

    private readonly string folder;

    private BaseModel(string folder, LlamaConfig config, HuggingFaceTokenizer tokenizer) =>
        (this.folder, Config, Tokenizer) = (folder, config, tokenizer);

    /// <summary>The model's name: that of its folder.</summary>
    public string Name => Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));

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

        BaseModel opened = Explain(folder, () => new BaseModel(folder, LlamaConfig.Load(folder), HuggingFaceTokenizer.Load(folder)));
        return opened.Config.MaxPositions >= ShortestText
            ? opened
            : throw new UserException(
                $"--model {folder}: max_position_embeddings is {opened.Config.MaxPositions}, but to predict a token from another takes {ShortestText} positions");
    }

    /// <summary>A fresh copy of the weights, in float32.</summary>
    /// <exception cref="UserException">The weights cannot be read.</exception>
    public LlamaForCausalLM LoadWeights() => Explain(folder, () => LlamaForCausalLM.Load(folder, ScalarType.Float32));

    /// <summary>The documents' tokens.</summary>
    /// <exception cref="UserException">The tokenizer cannot encode them, or belongs to another model.</exception>
    public TokenStream Encode(IEnumerable<Document> documents)
    {
        TokenStream stream = Explain(folder, () => TokenStream.Encode(Tokenizer, documents));
        return stream.Highest < Config.VocabSize
            ? stream
            : throw new UserException(
                $"--model {folder}: the tokenizer gives id {stream.Highest}, but the model has {Config.VocabSize} embeddings; they do not belong together");
    }

    /// <summary>The prompt and what a trained copy of the model makes of it.</summary>
    /// <exception cref="UserException">The tokenizer cannot encode the prompt, or has no token for what the model gives.</exception>
    public string Continue(LlamaForCausalLM model, string prompt, GenerationOptions options) =>
        Explain(folder, () => Tokenizer.Decode(model.Generate(Tokenizer.Encode(prompt, addSpecialTokens: true), options)));

    private static T Explain<T>(string folder, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or NotSupportedException or ArgumentException
            or JsonException or RegexMatchTimeoutException)
        {
            throw new UserException($"--model {folder}: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }
}
