using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>Dropout on float32 memory, the mask made on the way.</summary>
internal static unsafe class DropoutKernel
{
    private interface ITarget
    {
        /// <summary>What is written for what was there and what is kept of the source.</summary>
        static abstract Vector256<float> Write(Vector256<float> before, Vector256<float> kept);
    }

    /// <summary>target = mask ⊙ source / (1 − p).</summary>
    public static void Copy(Tensor source, Tensor target, DropoutBits bits, double p) => Run<Overwritten>(source, target, bits, p);

    /// <summary>target += mask ⊙ source / (1 − p).</summary>
    public static void Add(Tensor source, Tensor target, DropoutBits bits, double p) => Run<AddedTo>(source, target, bits, p);

    /// <summary>The mask itself, 1 for kept elements.</summary>
    public static void Fill(Span<byte> mask, DropoutBits bits)
    {
        for (int i = 0; i < mask.Length; i += DropoutBits.Step)
        {
            uint kept = bits.Kept(i).ExtractMostSignificantBits();
            for (int k = 0; k < DropoutBits.Step && i + k < mask.Length; k++)
            {
                mask[i + k] = (byte)((kept >> k) & 1);
            }
        }
    }

    private static void Run<TTarget>(Tensor source, Tensor target, DropoutBits bits, double p)
        where TTarget : ITarget
    {
        float* from = FloatMemory.Of(source);
        float* to = FloatMemory.Of(target);
        float factor = (float)(1 / (1 - p));
        RowBlocks.Run(source.numel(), 1, DropoutBits.Step, (first, end) => Run<TTarget>(from, to, first, end, bits, factor));
    }

    private static void Run<TTarget>(float* from, float* to, long first, long end, DropoutBits bits, float factor)
        where TTarget : ITarget
    {
        long i = first;
        for (; i <= end - DropoutBits.Step; i += DropoutBits.Step)
        {
            Kept(Vector256.Load(from + i), Vector256.Load(to + i), i).Store(to + i);
        }

        // The rest as a step of its own, so that there is one way to make a mask.
        if (i < end)
        {
            Span<float> source = stackalloc float[DropoutBits.Step];
            Span<float> target = stackalloc float[DropoutBits.Step];
            Span<float> rest = new(to + i, (int)(end - i));
            new ReadOnlySpan<float>(from + i, rest.Length).CopyTo(source);
            rest.CopyTo(target);
            Kept(Vector256.Create<float>(source), Vector256.Create<float>(target), i).CopyTo(target);
            target[..rest.Length].CopyTo(rest);
        }

        Vector256<float> Kept(Vector256<float> source, Vector256<float> before, long index) =>
            TTarget.Write(before, (source * factor) & bits.Kept(index).AsSingle());
    }

    private readonly struct Overwritten : ITarget
    {
        public static Vector256<float> Write(Vector256<float> before, Vector256<float> kept) => kept;
    }

    private readonly struct AddedTo : ITarget
    {
        public static Vector256<float> Write(Vector256<float> before, Vector256<float> kept) => before + kept;
    }
}
