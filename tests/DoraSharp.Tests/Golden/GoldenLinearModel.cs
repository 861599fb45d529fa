using System.Text.Json;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DoraSharp.Tests.Golden;

/// <summary>A model as a golden case describes it: linear layers at given paths, and the steps of its forward.</summary>
internal sealed class GoldenLinearModel : nn.Module<Tensor, Tensor>
{
    private readonly JsonElement description;
    private readonly Dictionary<string, Folder> folders = [];

    public GoldenLinearModel(JsonElement description)
        : base(nameof(GoldenLinearModel))
    {
        this.description = description;
        ScalarType dtype = description.GetProperty("dtype").GetString() switch
        {
            "bfloat16" => ScalarType.BFloat16,
            "float16" => ScalarType.Float16,
            _ => ScalarType.Float32,
        };
        foreach (JsonElement module in description.GetProperty("modules").EnumerateArray())
        {
            JsonElement args = module.GetProperty("args");
            bool bias = !args.TryGetProperty("bias", out JsonElement flag) || flag.GetBoolean();
            string path = module.GetProperty("path").GetString()!;
            Linear layer = nn.Linear(args.GetProperty("in_features").GetInt64(), args.GetProperty("out_features").GetInt64(), bias, dtype: dtype);
            int dot = path.LastIndexOf('.');
            Parent(dot < 0 ? "" : path[..dot]).add_module(path[(dot + 1)..], layer);
        }
    }

    public override Tensor forward(Tensor input)
    {
        Dictionary<string, Tensor> values = new() { [description.GetProperty("inputs")[0].GetString()!] = input };
        foreach (JsonElement step in description.GetProperty("forward").EnumerateArray())
        {
            Tensor x = values[step.GetProperty("in")[0].GetString()!];
            values[step.GetProperty("out").GetString()!] = step.GetProperty("op").GetString() switch
            {
                "call" => ((nn.Module<Tensor, Tensor>)named_modules().First(m => m.name == step.GetProperty("module").GetString()).module).call(x),
                "tanh" => x.tanh(),
                "add" => x + values[step.GetProperty("in")[1].GetString()!],
                var op => throw new NotSupportedException($"The step '{op}' is not known."),
            };
        }

        return values[description.GetProperty("output").GetString()!];
    }

    private nn.Module Parent(string path)
    {
        if (path.Length == 0)
        {
            return this;
        }

        if (!folders.TryGetValue(path, out Folder? folder))
        {
            folder = new Folder();
            folders.Add(path, folder);
            int dot = path.LastIndexOf('.');
            Parent(dot < 0 ? "" : path[..dot]).add_module(path[(dot + 1)..], folder);
        }

        return folder;
    }

    /// <summary>A module that only holds others.</summary>
    private sealed class Folder() : nn.Module(nameof(Folder));
}
