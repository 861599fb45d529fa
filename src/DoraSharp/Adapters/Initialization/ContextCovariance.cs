using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The mean over samples of Xᵀ X, where X [tokens, in] is a sample's inputs divided by |max X|: what CorDA needs.</summary>
/// <remarks>
/// |max X| is the absolute value of the largest input, as PEFT has it, not the largest absolute value. Where it is zero
/// PEFT divides by it; here the largest absolute value takes its place, and a sample of zeros adds nothing.
/// </remarks>
internal sealed class ContextCovariance : InputStatistics
{
    private long samples;
    private Tensor? sum;

    public override void Add(Tensor x, Tensor? kept)
    {
        using var scope = NewDisposeScope();
        long inputs = x.shape[^1];

        // [batch, tokens, in] has a sample per entry of the batch; [tokens, in] is one.
        Tensor batch = x.detach().reshape(x.dim() < 3 ? 1 : x.shape[0], -1, inputs);
        for (long i = 0; i < batch.shape[0]; i++)
        {
            using var sampleScope = NewDisposeScope();
            Tensor sample = batch[i];
            if (kept is not null)
            {
                sample = sample[kept.to(sample.device).reshape(batch.shape[0], -1)[i]];
            }

            if (sample.numel() > 0)
            {
                AddSample(sample.to(ScalarType.Float64));
            }
        }
    }

    public override Tensor? Result() => sum?.div(samples);

    public override void Dispose() => sum?.Dispose();

    private void AddSample(Tensor x)
    {
        double largest = Math.Abs(x.max().item<double>());
        largest = largest > 0 ? largest : x.abs().max().item<double>();
        Tensor scaled = largest == 0 ? x : x / largest;
        if (sum is null)
        {
            sum = scaled.t().matmul(scaled).DetachFromDisposeScope();
        }
        else
        {
            sum.addmm_(scaled.t(), scaled, 1, 1);
        }

        samples++;
    }
}
