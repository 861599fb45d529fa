using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DoraSharp.Tests.Injection;

/// <summary>Adapters that others trained and published, in models of their shapes.</summary>
public class PublishedAdapterTests
{
    [Theory]
    [InlineData("gpt2-lora-a")]
    [InlineData("gpt2-lora-b")]
    [InlineData("distilbert-modules-to-save")]
    public void Load_IntoAModelOfItsShape_PutsEveryTensorWhereItBelongs(string name)
    {
        string folder = SharedFolder.Require("adapters", name);
        using var scope = NewDisposeScope();
        manual_seed(61);
        using PeftFolder file = PeftFolder.Read(folder);
        using Skeleton model = new(file);
        using AdaptedModel adapted = AdaptedModel.Load(model, folder);

        LoadedTensors loaded = adapted.Report.File!;
        loaded.Loaded.Should().BeEquivalentTo(file.Tensors.Select(tensor => tensor.Name));
        loaded.Missing.Should().BeEmpty();
        loaded.Unexpected.Should().BeEmpty();

        Dictionary<string, Tensor> tensors = file.Tensors.ToDictionary(tensor => tensor.Name, tensor => tensor.Value);
        double scaling = ((LoraOptions)file.Options).Scaling;
        foreach ((string path, AdapterStack stack) in adapted.Layers)
        {
            Module<Tensor, Tensor> layer = model.At(path);
            Tensor x = randn(3, tensors[$"{path}.lora_A.weight"].shape[1]);
            Tensor update = x.matmul(tensors[$"{path}.lora_A.weight"].t()).matmul(tensors[$"{path}.lora_B.weight"].t()) * scaling;
            Tensor weight = stack.Weight.Dense();
            Tensor expected = x.matmul(weight.t()) + stack.Weight.Bias! + update;
            layer.eval();
            Reference.RelativeError(layer.call(x), expected).Should().BeLessThan(1e-5, path);
        }

        foreach (PeftTensor saved in file.Tensors.Where(tensor => !tensor.Part.StartsWith("lora_", StringComparison.Ordinal)))
        {
            Reference.SameBits(model.At(saved.ModulePath).get_parameter(saved.Part)!, saved.Value).Should().BeTrue(saved.Name);
        }

        using TemporaryFolder copy = new();
        adapted.Save(copy.Path);
        File.ReadAllBytes(copy.File("adapter_model.safetensors")).Should().Equal(File.ReadAllBytes(Path.Combine(folder, "adapter_model.safetensors")));
    }

    /// <summary>A model with just the layers that a file has tensors for, under their paths.</summary>
    private sealed class Skeleton : Module<Tensor, Tensor>
    {
        private readonly Dictionary<string, Module> byPath = new(StringComparer.Ordinal);

        public Skeleton(PeftFolder file)
            : base(nameof(Skeleton))
        {
            byPath.Add("", this);
            foreach (IGrouping<string, PeftTensor> tensors in file.Tensors.GroupBy(tensor => tensor.ModulePath))
            {
                Dictionary<string, long[]> shapes = tensors.ToDictionary(tensor => tensor.Part, tensor => tensor.Value.shape);
                Put(tensors.Key, Layer(shapes, file.Options.FanInFanOut));
            }
        }

        public Module<Tensor, Tensor> At(string path) => (Module<Tensor, Tensor>)path.Split('.').Aggregate((Module)this, (module, name) => module.named_children().Single(child => child.name == name).module);

        public override Tensor forward(Tensor input) => throw new NotSupportedException();

        private static Module Layer(Dictionary<string, long[]> shapes, bool transposed)
        {
            if (shapes.TryGetValue("weight", out long[]? saved))
            {
                return Linear(saved[1], saved[0], hasBias: shapes.ContainsKey("bias"));
            }

            long inputs = shapes["lora_A.weight"][1];
            long outputs = shapes["lora_B.weight"][0];
            return transposed ? new TransposedLinear(inputs, outputs) : Linear(inputs, outputs);
        }

        private void Put(string path, Module layer)
        {
            int dot = path.LastIndexOf('.');
            string parent = dot < 0 ? "" : path[..dot];
            if (!byPath.ContainsKey(parent))
            {
                Put(parent, new Holder());
            }

            byPath.Add(path, layer);
            byPath[parent].register_module(path[(dot + 1)..], layer);
        }
    }

    private sealed class Holder() : Module<Tensor, Tensor>(nameof(Holder))
    {
        public override Tensor forward(Tensor input) => throw new NotSupportedException();
    }
}
