using Microsoft.Win32.SafeHandles;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Moves the bytes of contiguous CPU tensors, of any length, without a managed copy.</summary>
internal static class TensorBytes
{
    /// <summary>How many elements to move at a time: a span ends at 2 GiB, tensors do not.</summary>
    public const long DefaultPiece = 1 << 25;

    /// <summary>How many elements to convert at a time.</summary>
    private const long ConvertedPiece = 1 << 20;

    /// <summary>Fills a tensor from memory.</summary>
    /// <param name="tensor">A contiguous CPU tensor.</param>
    /// <param name="source">As many bytes as the tensor has.</param>
    /// <param name="piece">How many elements to move at a time.</param>
    public static unsafe void Fill(Tensor tensor, byte* source, long piece)
    {
        foreach (Tensor part in Pieces(tensor, piece))
        {
            Span<byte> bytes = part.bytes;
            new ReadOnlySpan<byte>(source, bytes.Length).CopyTo(bytes);
            source += bytes.Length;
        }
    }

    /// <summary>Fills a tensor from a file.</summary>
    /// <param name="tensor">A contiguous CPU tensor.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the tensor's bytes begin.</param>
    /// <param name="piece">How many elements to read at a time.</param>
    /// <exception cref="EndOfStreamException">The file is shorter.</exception>
    public static void Fill(Tensor tensor, SafeFileHandle file, long offset, long piece)
    {
        foreach (Tensor part in Pieces(tensor, piece))
        {
            for (Span<byte> rest = part.bytes; !rest.IsEmpty;)
            {
                int read = RandomAccess.Read(file, rest, offset);
                if (read == 0)
                {
                    throw new EndOfStreamException();
                }

                rest = rest[read..];
                offset += read;
            }
        }
    }

    /// <summary>Fills a tensor from a file that has its numbers in another dtype, without room for all of them.</summary>
    /// <param name="tensor">A contiguous CPU tensor.</param>
    /// <param name="dtype">The dtype in the file.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the tensor's bytes begin.</param>
    /// <exception cref="EndOfStreamException">The file is shorter.</exception>
    public static void FillConverted(Tensor tensor, ScalarType dtype, SafeFileHandle file, long offset)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Tensor room = empty([Math.Min(tensor.numel(), ConvertedPiece)], dtype);
        foreach (Tensor part in Pieces(tensor, ConvertedPiece))
        {
            using var pieceScope = NewDisposeScope();
            Tensor read = room.narrow(0, 0, part.numel());
            Fill(read, file, offset, ConvertedPiece);
            part.copy_(read);
            offset += read.numel() * read.element_size();
        }
    }

    /// <summary>Fills a tensor from a stream.</summary>
    /// <param name="tensor">A contiguous CPU tensor.</param>
    /// <param name="stream">Where to read.</param>
    /// <exception cref="EndOfStreamException">The stream ends before.</exception>
    public static void Fill(Tensor tensor, Stream stream)
    {
        foreach (Tensor part in Pieces(tensor, DefaultPiece))
        {
            stream.ReadExactly(part.bytes);
        }
    }

    /// <summary>A CPU tensor with the same bytes as elements of another type.</summary>
    /// <param name="tensor">A tensor on any device.</param>
    /// <param name="dtype">The other type.</param>
    /// <param name="shape">The new tensor's shape, which takes as many bytes.</param>
    public static unsafe Tensor Reinterpret(Tensor tensor, ScalarType dtype, params long[] shape)
    {
        using Tensor local = tensor.cpu();
        using Tensor contiguous = local.contiguous();
        Tensor result = empty(shape, dtype);
        Fill(result, (byte*)TensorMemory.Address(contiguous), DefaultPiece);
        GC.KeepAlive(contiguous);
        return result;
    }

    /// <summary>Writes a tensor's bytes in row-major order, whatever its device and strides.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="stream">Where to write.</param>
    /// <param name="piece">How many elements to write at a time.</param>
    public static void Write(Tensor tensor, Stream stream, long piece = DefaultPiece)
    {
        // Conjugation and negation are lazy flags of a view, which the bytes do not show.
        using Tensor detached = tensor.detach();
        using Tensor conjugated = detached.resolve_conj();
        using Tensor negated = conjugated.resolve_neg();
        using Tensor local = negated.cpu();
        using Tensor contiguous = local.contiguous();
        foreach (Tensor part in Pieces(contiguous, piece))
        {
            stream.Write(part.bytes);
        }
    }

    /// <summary>True when each byte of a contiguous CPU tensor of Booleans is 0 or 1; any other value is undefined behaviour in libtorch.</summary>
    public static bool HasOnlyBooleans(Tensor tensor)
    {
        foreach (Tensor part in Pieces(tensor, DefaultPiece))
        {
            if (part.bytes.ContainsAnyExceptInRange((byte)0, (byte)1))
            {
                return false;
            }
        }

        return true;
    }

    private static IEnumerable<Tensor> Pieces(Tensor tensor, long piece)
    {
        using Tensor flat = tensor.view(-1);
        long count = flat.numel();
        for (long start = 0; start < count; start += piece)
        {
            using Tensor part = flat.narrow(0, start, Math.Min(piece, count - start));
            yield return part;
        }
    }
}
