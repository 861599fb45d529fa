using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>The scatter matrix Σ (x − mean)(x − mean)ᵀ of a layer's inputs, one row of the input at a time or many: what EVA needs.</summary>
/// <remarks>
/// Each call's own scatter about its own mean is merged with what came before (Chan, Golub, LeVeque), which does not
/// cancel where the mean is large, as a sum of x xᵀ would.
/// </remarks>
internal sealed class InputScatter : InputStatistics
{
    private long count;
    private Tensor? mean;
    private Tensor? scatter;

    public override void Add(Tensor x, Tensor? kept)
    {
        using var scope = NewDisposeScope();
        Tensor rows = x.detach().reshape(-1, x.shape[^1]);
        rows = (kept is null ? rows : rows[kept.to(rows.device)]).to(ScalarType.Float64);
        long added = rows.shape[0];
        if (added == 0)
        {
            return;
        }

        Tensor meanOfRows = rows.mean([0]);
        Tensor centred = rows - meanOfRows;
        if (mean is null || scatter is null)
        {
            mean = meanOfRows.DetachFromDisposeScope();
            scatter = centred.t().matmul(centred).DetachFromDisposeScope();
        }
        else
        {
            Tensor shift = meanOfRows - mean;
            Tensor weighted = shift * Math.Sqrt((double)count * added / (count + added));
            scatter.addmm_(centred.t(), centred, 1, 1).addr_(weighted, weighted, 1, 1);
            mean.add_(shift * ((double)added / (count + added)));
        }

        count += added;
    }

    public override Tensor? Result() => scatter?.clone();

    public override void Dispose()
    {
        mean?.Dispose();
        scatter?.Dispose();
    }
}
