using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Transformers.Tests.Adapters;

/// <summary>Replays training runs of PEFT in Python on pretrained models: same start, same batches, same losses.</summary>
public class PeftTrainingTests
{
    [Theory]
    [InlineData("stories260K-lora")]
    [InlineData("stories260K-dora")]
    [InlineData("story-llama-lora")]
    [InlineData("story-llama-dora")]
    [InlineData("stories260K-qlora")]
    [InlineData("stories260K-qdora")]
    public void Train_FromPeftsStart_FollowsItsLossesToItsEnd(string name)
    {
        using var outer = NewDisposeScope();
        GoldenCase golden = GoldenCase.Of("batches.safetensors", "models", "train", name);
        string basePath = golden.Json.GetProperty("base").GetString()!;
        basePath.Should().StartWith("shared/");
        bool isQuantized = golden.Json.TryGetProperty("quantization", out JsonElement quantization);
        using LlamaForCausalLM model = LlamaForCausalLM.Load(isQuantized
            ? golden.Folder(quantization.GetProperty("base_nf4").GetString()!)
            : SharedFolder.Require(basePath["shared/".Length..].Split('/')));
        model.modules().OfType<QuantizedLinear>().Any().Should().Be(isQuantized);
        using AdaptedModel adapted = AdaptedModel.Load(model, golden.Folder(golden.Json.GetProperty("start").GetString()!));
        JsonElement settings = golden.Json.GetProperty("optimizer");
        JsonElement tolerance = golden.Json.GetProperty("tolerance");
        double maxNorm = golden.Json.GetProperty("gradient_clipping").GetProperty("max_norm").GetDouble();
        using SafetensorsReader batches = SafetensorsReader.Open(golden.Folder(golden.Json.GetProperty("batches").GetString()!.Split(':')[0]));
        Tensor ids = batches.Read("input_ids");
        Tensor labels = batches.Read("labels");
        Parameter[] parameters = [.. adapted.TrainableParameters()];
        parameters.Should().HaveCount(golden.Json.GetProperty("trainable").GetArrayLength());
        using var optimizer = optim.AdamW(parameters, lr: 1, weight_decay: settings.GetProperty("weight_decay").GetDouble());
        model.train();

        for (int step = 0; step < golden.Json.GetProperty("steps").GetInt32(); step++)
        {
            using var scope = NewDisposeScope();
            optimizer.ParamGroups.First().LearningRate = golden.Json.GetProperty("lr")[step].GetDouble();
            optimizer.zero_grad();
            Tensor loss = CausalLanguageModel.Loss(model.call(ids[step]), labels[step]);
            loss.backward();
            double norm = Clip(parameters, maxNorm);
            optimizer.step();

            loss.item<float>().Should().BeApproximately(golden.Json.GetProperty("loss")[step].GetSingle(), tolerance.GetProperty("loss").GetProperty("atol").GetSingle(), $"of step {step}");
            double expectedNorm = golden.Json.GetProperty("grad_norm")[step].GetDouble();
            norm.Should().BeApproximately(expectedNorm, expectedNorm * tolerance.GetProperty("grad_norm").GetProperty("rtol").GetDouble(), $"of step {step}");
        }

        using PeftFolder end = PeftFolder.Read(golden.Folder(golden.Json.GetProperty("end").GetString()!));
        end.Tensors.Should().HaveCount(parameters.Length);
        Dictionary<string, Parameter> trained = adapted.Layers
            .SelectMany(layer => layer.Value["default"].named_parameters().Select(p => (Name: $"{layer.Key}.{p.name}", p.parameter)))
            .ToDictionary(p => p.Name, p => p.parameter);
        foreach (PeftTensor tensor in end.Tensors)
        {
            string part = tensor.Part.Replace(".weight", "", StringComparison.Ordinal);
            GoldenCase.Excess(trained[$"{tensor.ModulePath}.{part}"], tensor.Value, tolerance.GetProperty("final_weights")).Should().BeLessThanOrEqualTo(0, tensor.Name);
        }

        model.eval();
        using var noGrad = no_grad();
        CausalLanguageModel.Loss(model.call(ids[0]), labels[0]).item<float>()
            .Should().BeApproximately(golden.Json.GetProperty("final_eval_loss_on_batch_0").GetSingle(), tolerance.GetProperty("loss").GetProperty("atol").GetSingle());
    }

    /// <summary>PyTorch's clip_grad_norm_; the norm before clipping.</summary>
    private static double Clip(Parameter[] parameters, double maxNorm)
    {
        double norm = Math.Sqrt(parameters.Sum(p => p.grad!.to(ScalarType.Float64).square().sum().item<double>()));
        double factor = Math.Min(1, maxNorm / (norm + 1e-6));
        foreach (Parameter parameter in parameters)
        {
            parameter.grad!.mul_(factor);
        }

        return norm;
    }
}
