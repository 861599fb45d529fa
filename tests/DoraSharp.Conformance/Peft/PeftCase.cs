using System.Text.Json;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>A case as the checks see it: its file, its tensors, fresh copies of its model.</summary>
internal sealed class PeftCase : IDisposable
{
    private readonly TensorFile baseValues;
    private readonly TemporaryFolder temporary = new();

    public PeftCase(string folder)
    {
        Folder = folder;
        File = CaseFile.Read(Path.Combine(folder, "case.json"));
        Io = new(Path.Combine(folder, "io.safetensors"));
        baseValues = new(Path.Combine(folder, "base.safetensors"));
        bool byRows = File.Notes.Any(static note => note.Contains("row by row", StringComparison.Ordinal));
        Expect = new(File.Id, File.Tolerance, byRows);
    }

    public string Folder { get; }

    public CaseFile File { get; }

    public TensorFile Io { get; }

    public Comparison Expect { get; }

    /// <summary>A folder for what the case writes.</summary>
    public string Temporary => temporary.Path;

    /// <summary>The values of the base, by their names.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> BaseValues => baseValues.ReadAll("");

    /// <summary>A fresh copy of the base model, in evaluation.</summary>
    public CaseModel NewModel()
    {
        CaseModel model = new(File.Model);
        model.Load(baseValues);
        model.eval();
        return model;
    }

    /// <summary>The model's inputs; those of floating point take gradients if asked.</summary>
    public Tensor[] Inputs(bool gradients = false) =>
        [.. File.Model.Inputs.Select(name => Io.Read(name)).Select(x => gradients && is_floating_point(x.dtype) ? x.requires_grad_(true) : x)];

    /// <summary>The output without a graph.</summary>
    public Tensor Run(CaseModel model)
    {
        using var noGrad = no_grad();
        return model.call(Inputs());
    }

    /// <summary>Loads all adapters of the case, and activates those that the case says.</summary>
    public AdaptedModel Load(CaseModel model)
    {
        AdaptedModel adapted = LoadOne(model, File.Adapters[0]);
        foreach (AdapterDescription adapter in File.Adapters.Skip(1))
        {
            PeftApi.LoadFurther(adapted, Parent(adapter), adapter.Name);
        }

        string[] active = [.. File.Active.Where(name => File.Adapters.Any(adapter => adapter.Name == name))];
        if (File.Adapters.Count > 1 && active.Length > 0)
        {
            PeftApi.Activate(adapted, active);
        }

        return adapted;
    }

    /// <summary>Loads a single adapter.</summary>
    public AdaptedModel LoadOne(CaseModel model, AdapterDescription adapter) =>
        AdaptedModel.Load(model, Parent(adapter), new() { AdapterName = adapter.Name });

    /// <summary>The options that an adapter was made with: those of its folder, where the case does not ask for others.</summary>
    public AdapterOptions Options(AdapterDescription adapter)
    {
        JsonObject fields = JsonNode.Parse(System.IO.File.ReadAllText(ConfigPath(adapter)))!.AsObject();
        if (File.Result is not null)
        {
            // The folder has what the initialisation made of the ranks.
            fields.Remove("rank_pattern");
            fields.Remove("alpha_pattern");
        }

        foreach ((string name, JsonElement value) in adapter.Config)
        {
            fields[name] = JsonNode.Parse(value.GetRawText());
        }

        string path = temporary.Write($"{Guid.NewGuid():N}/adapter_config.json", fields.ToJsonString());
        return PeftApi.ReadOptions(path);
    }

    /// <summary>The folder that holds an adapter's two files.</summary>
    public string FolderOf(AdapterDescription adapter) => FixtureFolder.Resolve(Folder, adapter.Folder);

    public string ConfigPath(AdapterDescription adapter) => Path.Combine(FolderOf(adapter), "adapter_config.json");

    /// <summary>The folder that the library is told: an adapter that is not named default lies in a subfolder of its name.</summary>
    public string Parent(AdapterDescription adapter)
    {
        string folder = FolderOf(adapter);
        if (adapter.Name == "default")
        {
            return folder;
        }

        if (Path.GetFileName(folder) == adapter.Name)
        {
            return Path.GetDirectoryName(folder)!;
        }

        string copy = Path.Combine(Temporary, $"{Guid.NewGuid():N}");
        Directory.CreateDirectory(Path.Combine(copy, adapter.Name));
        foreach (string file in Directory.GetFiles(folder))
        {
            System.IO.File.Copy(file, Path.Combine(copy, adapter.Name, Path.GetFileName(file)));
        }

        return copy;
    }

    public void Dispose()
    {
        Io.Dispose();
        baseValues.Dispose();
        temporary.Dispose();
    }
}
