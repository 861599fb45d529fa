using System.Text.RegularExpressions;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// An adapter on disk (LoRA, DoRA, VeRA), in the format of Hugging Face PEFT: a folder with <c>adapter_config.json</c> and
/// <c>adapter_model.safetensors</c>. An adapter that is not named <c>default</c> sits in a subfolder of its name.
/// </summary>
/// <remarks>
/// Read and written as PEFT 0.21.2 does. Options that this library lacks are refused with the field's name; those that PEFT
/// lacks are fields whose names begin with <c>dorasharp_</c>, which PEFT passes over.
/// </remarks>
public sealed class PeftFolder : IDisposable
{
    private const string ConfigName = "adapter_config.json";
    private const string TensorsName = "adapter_model.safetensors";
    private const string PickleName = "adapter_model.bin";
    private static readonly Dictionary<string, string> FileMetadata = new() { ["format"] = "pt" };

    private PeftFolder(string path, AdapterOptions options, PeftMetadata metadata, IReadOnlyList<PeftTensor> tensors, IReadOnlyList<string> warnings)
    {
        Path = path;
        Options = options;
        Metadata = metadata;
        Tensors = tensors;
        Warnings = warnings;
    }

    /// <summary>The folder that holds the two files.</summary>
    public string Path { get; }

    /// <summary>The adapter's options.</summary>
    /// <remarks>Where the configuration names no target modules, the targets are exactly the modules that the file has tensors for.</remarks>
    public AdapterOptions Options { get; }

    /// <summary>What the configuration says besides.</summary>
    public PeftMetadata Metadata { get; }

    /// <summary>The tensors, in file order, in the file's dtypes; they live until the folder is disposed.</summary>
    public IReadOnlyList<PeftTensor> Tensors { get; }

    /// <summary>What was odd but accepted, one sentence each: unknown fields, missing targets.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>Reads an adapter. Both files are checked before anything is returned.</summary>
    /// <param name="folder">The folder that PEFT saved to.</param>
    /// <param name="adapterName">The adapter's name: <c>default</c> lies in the folder itself, any other in a subfolder.</param>
    /// <param name="device">Where the tensors shall live; the CPU by default.</param>
    /// <returns>The adapter; the caller disposes it.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such folder, or no adapter of that name in it.</exception>
    /// <exception cref="FileNotFoundException">One of the two files is missing. A pickle (<c>adapter_model.bin</c>) is not read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or the configuration asks for what is not supported; the message has the file's path.</exception>
    public static PeftFolder Read(string folder, string adapterName = AdapterName.Default, Device? device = null)
    {
        string path = Locate(folder, adapterName);
        string configPath = Existing(folder, path, ConfigName);
        string tensorsPath = Existing(folder, path, TensorsName);
        PeftConfig config = PeftConfigReader.Read(configPath);
        using SafetensorsReader reader = SafetensorsReader.Open(tensorsPath);
        List<(SafetensorsEntry Entry, string ModulePath, string Part)> names = Names(reader);
        List<string> warnings = [.. config.UnknownFields.Select(name => $"'{configPath}' has the field '{name}', which is not known: it has no effect, and is kept when the adapter is saved.")];
        if (!config.NamesTargets)
        {
            config = config.WithTargets(TargetsOf(names, configPath));
            warnings.Add($"'{configPath}' has no {CommonFields.TargetModulesName}: the modules that the file has tensors for are taken.");
        }

        List<PeftTensor> tensors = [];
        try
        {
            foreach ((SafetensorsEntry entry, string modulePath, string part) in names)
            {
                tensors.Add(new(modulePath, part, reader.Read(entry.Name, device)));
            }

            return new(path, config.Options, config.Metadata with { TensorType = CommonType(tensors) }, tensors.AsReadOnly(), warnings.AsReadOnly());
        }
        catch
        {
            tensors.ForEach(static tensor => tensor.Value.Dispose());
            throw;
        }
    }

    /// <summary>Writes an adapter. Both files are written under temporary names; when both are on the disk they are moved into place, the tensors first.</summary>
    /// <param name="folder">The folder; it is made where it does not exist. Files of the adapter that are there are replaced.</param>
    /// <param name="options">The adapter's options.</param>
    /// <param name="tensors">The adapter's tensors, in any order, on any device; each is written in its own dtype. They stay the caller's.</param>
    /// <param name="metadata">What the configuration shall say besides.</param>
    /// <param name="adapterName">The adapter's name: <c>default</c> is written to the folder itself, any other to a subfolder.</param>
    /// <exception cref="ArgumentException">There are no tensors, one of them cannot be stored, or a name is not valid.</exception>
    /// <exception cref="IOException">A file cannot be written; what was there is still there.</exception>
    public static void Write(
        string folder, AdapterOptions options, IEnumerable<PeftTensor> tensors, PeftMetadata? metadata = null, string adapterName = AdapterName.Default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(tensors);
        AdapterName.Check(adapterName);
        SafetensorsLayout layout = SafetensorsLayout.Create(tensors.Select(static tensor => KeyValuePair.Create(tensor.FileName, tensor.Value)), FileMetadata);
        if (layout.Tensors.Count == 0)
        {
            throw new ArgumentException("An adapter needs at least one tensor.", nameof(tensors));
        }

        byte[] config = PeftConfig.Serialize(options, metadata ?? new PeftMetadata());
        string path = PathOf(folder, adapterName);
        if (File.Exists(path))
        {
            throw new IOException($"'{path}' is a file; an adapter is saved to a folder.");
        }

        Directory.CreateDirectory(path);
        using PendingFile tensorsFile = SafetensorsWriter.Begin(System.IO.Path.Combine(path, TensorsName), layout);
        using PendingFile configFile = new(System.IO.Path.Combine(path, ConfigName), config.Length);
        configFile.Stream.Write(config);
        configFile.Complete();
        tensorsFile.Move();
        configFile.Move();
    }

    /// <summary>Disposes the tensors.</summary>
    public void Dispose()
    {
        foreach (PeftTensor tensor in Tensors)
        {
            tensor.Value.Dispose();
        }
    }

    // A file of float32 says nothing: that is what parameters are stored as by default.
    private static ScalarType? CommonType(List<PeftTensor> tensors)
    {
        ScalarType[] types = [.. tensors.Select(static tensor => tensor.Value.dtype).Where(static type => is_floating_point(type)).Distinct()];
        return types is [not ScalarType.Float32] ? types[0] : null;
    }

    private static string PathOf(string folder, string adapterName) =>
        adapterName == AdapterName.Default ? folder : System.IO.Path.Combine(folder, adapterName);

    private static string Locate(string folder, string adapterName)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        AdapterName.Check(adapterName);
        string path = PathOf(folder, adapterName);
        foreach (string part in new[] { folder, path })
        {
            if (!Directory.Exists(part))
            {
                throw new DirectoryNotFoundException(
                    File.Exists(part) ? $"'{part}' is a file; an adapter is a folder." : $"There is no folder '{part}'.{OtherAdapters(folder)}");
            }
        }

        return path;
    }

    private static string Existing(string folder, string path, string fileName)
    {
        string file = System.IO.Path.Combine(path, fileName);
        if (File.Exists(file))
        {
            return file;
        }

        string pickle = System.IO.Path.Combine(path, PickleName);
        throw new FileNotFoundException(
            fileName == TensorsName && File.Exists(pickle)
                ? $"There is no '{file}', only '{pickle}': pickles can run code and are not read. Convert it in Python: "
                    + $"safetensors.torch.save_file(torch.load(\"{PickleName}\", weights_only=True), \"{TensorsName}\", {{\"format\": \"pt\"}})"
                : $"There is no '{file}'.{OtherAdapters(folder)}",
            file);
    }

    private static string OtherAdapters(string folder)
    {
        if (!Directory.Exists(folder))
        {
            return "";
        }

        string[] names = [.. Directory.GetDirectories(folder).Where(static sub => File.Exists(System.IO.Path.Combine(sub, ConfigName))).Select(System.IO.Path.GetFileName).Order(StringComparer.Ordinal)!];
        return names.Length == 0 ? "" : $" The folder '{folder}' has the adapters {string.Join(", ", names)}.";
    }

    private static List<(SafetensorsEntry Entry, string ModulePath, string Part)> Names(SafetensorsReader reader)
    {
        List<(SafetensorsEntry, string, string)> names = [];
        HashSet<(string, string)> seen = [];
        foreach (SafetensorsEntry entry in reader.Entries)
        {
            (string modulePath, string part) = PeftTensor.Split(entry.Name);
            if (!seen.Add((modulePath, part)))
            {
                throw new InvalidDataException($"'{reader.Path}' has the tensor '{entry.Name}' twice, with and without PEFT's prefix.");
            }

            // Saved modules may hold counters.
            if (PeftPart.IsTrained(part) && !is_floating_point(entry.DType))
            {
                throw new InvalidDataException($"'{reader.Path}': tensor '{entry.Name}' is {entry.DType}; an adapter's tensors are floating-point numbers.");
            }

            names.Add((entry, modulePath, part));
        }

        return names;
    }

    private static TargetModules TargetsOf(IEnumerable<(SafetensorsEntry Entry, string ModulePath, string Part)> names, string configPath)
    {
        string[] paths = [.. names.Where(static name => PeftPart.IsOfAdaptedModule(name.Part)).Select(static name => PeftTensor.Unwrapped(name.ModulePath)).Distinct()];

        // A pattern, since a name in a list would also match at the end of longer paths.
        return paths.Length > 0
            ? TargetModules.FromPattern(string.Join('|', paths.Select(Regex.Escape)))
            : throw new InvalidDataException($"'{configPath}' has no {CommonFields.TargetModulesName}, and the file of tensors has none of an adapted module.");
    }
}
