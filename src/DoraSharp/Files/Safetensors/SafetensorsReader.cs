using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Reads a safetensors file: strict, memory-mapped, one tensor at a time.</summary>
/// <remarks>
/// <para>
/// <see cref="Open"/> checks the whole header before it returns: the length of the header (at most 100 MB), UTF-8, JSON,
/// names used twice, dtypes, shapes, offsets. The tensors must cover the data without overlap, gap or rest.
/// A file with an element type that TorchSharp lacks (<c>F8_E4M3</c>, <c>U16</c>, <c>U32</c>, <c>U64</c>, …) is refused with the tensor's and
/// the type's name. Memory for data is taken when a tensor is read, and never more than the file holds; opening a file takes
/// less than twice its length and 64 KiB, whatever it claims. To that end names have at most 4,096 bytes.
/// </para>
/// <para>The file must stay as it is while it is open: whoever cuts its mapped header short stops the process that reads it.
/// Reading from several threads is allowed.</para>
/// <para>Format: https://github.com/huggingface/safetensors.</para>
/// </remarks>
public sealed class SafetensorsReader : IDisposable
{
    private readonly SafetensorsIndex tensors;
    private readonly MemoryMappedFile file;
    private readonly MemoryMappedViewAccessor view;
    private readonly long fileLength;
    private readonly FileStream stream;

    private SafetensorsReader(string path, FileStream stream)
    {
        this.stream = stream;
        Path = path;
        fileLength = stream.Length;
        if (fileLength < SafetensorsHeader.PrefixLength)
        {
            throw new InvalidDataException($"it has {fileLength} bytes, fewer than the {SafetensorsHeader.PrefixLength} that tell the header's length");
        }

        file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        try
        {
            view = file.CreateViewAccessor(0, fileLength, MemoryMappedFileAccess.Read);
            (SafetensorsIndex metadata, tensors) = OnHeader(SafetensorsHeader.Parse);
            Metadata = new SafetensorsMetadata(metadata.Count, name => Find(metadata, name), field => MetadataAt(metadata[field]));
            Entries = new SafetensorsEntries(tensors.Count, entry => EntryAt(tensors[entry]));
        }
        catch
        {
            view?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>The path that <see cref="Open"/> was given.</summary>
    public string Path { get; }

    /// <summary>The file's free text (<c>__metadata__</c>), in file order; empty where it has none. It is read from the header when it is asked for, while the reader is not disposed.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The tensors, in the order of the header. Each is made from the header when it is asked for, while the reader is not disposed.</summary>
    public IReadOnlyList<SafetensorsEntry> Entries { get; }

    /// <summary>Opens a file and checks its header.</summary>
    /// <param name="path">The file's path.</param>
    /// <exception cref="InvalidDataException">The file is no valid safetensors file; the message has its path, the tensor's name, and what is wrong.</exception>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="IOException">The path is a folder, or the file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static SafetensorsReader Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (Directory.Exists(path))
        {
            throw new IOException($"'{path}' is a folder, not a safetensors file.");
        }

        FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        try
        {
            return new SafetensorsReader(path, stream);
        }
        catch (Exception e)
        {
            stream.Dispose();
            if (e is InvalidDataException)
            {
                throw new InvalidDataException($"'{path}' is no valid safetensors file: {e.Message}.", e);
            }

            throw;
        }
    }

    /// <summary>Looks up a tensor by name.</summary>
    /// <param name="name">The name; case matters.</param>
    /// <param name="entry">The tensor's description.</param>
    /// <returns>Whether the file has such a tensor.</returns>
    /// <exception cref="ObjectDisposedException">The reader was disposed.</exception>
    public bool TryGetEntry(string name, [MaybeNullWhen(false)] out SafetensorsEntry entry)
    {
        ArgumentNullException.ThrowIfNull(name);
        int found = Find(tensors, name);
        entry = found < 0 ? null : EntryAt(tensors[found]);
        return entry is not null;
    }

    /// <summary>Reads one tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="device">Where the tensor shall live; the CPU by default.</param>
    /// <returns>A new tensor with memory of its own, of the entry's shape and dtype, without gradient. The caller disposes it.</returns>
    /// <exception cref="KeyNotFoundException">The file has no tensor of that name.</exception>
    /// <exception cref="InvalidDataException">A tensor of Booleans has bytes other than 0 and 1.</exception>
    /// <exception cref="ObjectDisposedException">The reader was disposed.</exception>
    public Tensor Read(string name, Device? device = null) => Read(name, device, TensorBytes.DefaultPiece);

    /// <summary>Reads one tensor, a number of elements at a time.</summary>
    internal Tensor Read(string name, Device? device, long piece)
    {
        if (!TryGetEntry(name, out SafetensorsEntry? entry))
        {
            throw new KeyNotFoundException($"'{Path}' has no tensor '{name}'.");
        }

        Tensor tensor = empty([.. entry.Shape], entry.DType, CPU);
        try
        {
            ReadInto(entry, tensor, piece);
            if (device is null || device.type == TorchSharp.DeviceType.CPU)
            {
                return tensor;
            }

            Tensor moved = tensor.to(device);
            tensor.Dispose();
            return moved;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>Reads one tensor into contiguous CPU memory of its shape; into that of another dtype by pieces.</summary>
    internal void ReadInto(SafetensorsEntry entry, Tensor tensor, long piece)
    {
        try
        {
            // Not through the mapping that the header is read from: its pages would count as the process's memory while the file is open.
            if (tensor.dtype == entry.DType)
            {
                TensorBytes.Fill(tensor, stream.SafeFileHandle, entry.ByteOffset, piece);
            }
            else
            {
                TensorBytes.FillConverted(tensor, entry.DType, stream.SafeFileHandle, entry.ByteOffset);
            }
        }
        catch (EndOfStreamException e)
        {
            throw new InvalidDataException($"'{Path}' ends before the data of tensor '{entry.Name}': it was cut short while it was open.", e);
        }

        if (entry.DType == ScalarType.Bool && !TensorBytes.HasOnlyBooleans(tensor))
        {
            throw new InvalidDataException($"'{Path}': tensor '{entry.Name}' of Booleans has bytes other than 0 and 1.");
        }
    }

    /// <summary>Closes the file. Tensors that were read stay valid.</summary>
    public void Dispose()
    {
        view.Dispose();
        file.Dispose();
    }

    private int Find(SafetensorsIndex index, string name) => OnHeader((json, _) => index.Find(json, name));

    private SafetensorsEntry EntryAt(int position) => OnHeader((json, dataLength) => SafetensorsHeader.ReadEntry(json, dataLength, position));

    private KeyValuePair<string, string> MetadataAt(int position) => OnHeader((json, _) => SafetensorsHeader.ReadMetadata(json, position));

    /// <summary>Calls with the header and the number of bytes behind it.</summary>
    private unsafe T OnHeader<T>(Func<ReadOnlySpan<byte>, long, T> use)
    {
        SafeMemoryMappedViewHandle handle = view.SafeMemoryMappedViewHandle;
        ObjectDisposedException.ThrowIf(handle.IsClosed, this);
        byte* start = null;
        handle.AcquirePointer(ref start);
        try
        {
            ulong length = BinaryPrimitives.ReadUInt64LittleEndian(new(start, SafetensorsHeader.PrefixLength));
            long rest = fileLength - SafetensorsHeader.PrefixLength;
            if (length > SafetensorsHeader.MaxLength || (long)length > rest)
            {
                throw new InvalidDataException(
                    $"it claims a header of {length} bytes; {rest} bytes follow, and more than {SafetensorsHeader.MaxLength} are not accepted");
            }

            return use(new(start + SafetensorsHeader.PrefixLength, (int)length), rest - (long)length);
        }
        finally
        {
            handle.ReleasePointer();
        }
    }
}
