using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp.Benchmarks;

/// <summary>Errors against float64: this library's DoRA and PEFT's formula over bases of several dtypes.</summary>
internal sealed class PrecisionSuite : Suite
{
    private static readonly (long Inputs, long Outputs, int Rank)[] Shapes = [(768, 1024, 16), (1536, 640, 64)];

    public override string Name => "precision";

    public override string Description => "Measure errors against float64 over float32, bfloat16 and float16 bases, beside PEFT's formula.";

    /// <exception cref="InvalidOperationException">The run is for a GPU.</exception>
    public override void Run(SuiteRun run)
    {
        if (run.Settings.Device.type != DeviceType.CPU)
        {
            throw new InvalidOperationException($"--{Name} measures on the CPU only: leave --device out.");
        }

        run.Report.Section("Precision", "Relative errors ‖found − exact‖/‖exact‖ against float64 from the same stored values; one trained DoRA layer, 256 tokens, scaling 2.");
        foreach ((long inputs, long outputs, int rank) in run.Settings.IsShort ? Shapes[..1] : Shapes)
        {
            ReportTable table = new($"{inputs} → {outputs}, rank {rank}", ["base", "method", .. PrecisionFigures.Names], TextColumns: 2);
            foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16])
            {
                manual_seed(20);
                using PrecisionProblem problem = new(dtype, inputs, outputs, rank);
                Add(table, problem, "DoraSharp", ScalarType.Float32, LibraryDora.Compute);
                Add(table, problem, "PEFT's formula", ScalarType.Float32, static p => DoraFormula.Peft(p, ScalarType.Float32));
                if (dtype != ScalarType.Float32)
                {
                    Add(table, problem, $"PEFT's formula, adapter in {Names.Of(dtype)}", dtype, p => DoraFormula.Peft(p, dtype));
                }
            }

            run.Report.Add(table);
        }
    }

    private static void Add(ReportTable table, PrecisionProblem problem, string method, ScalarType adapterType, Func<PrecisionProblem, PrecisionFigures> compute)
    {
        using var scope = NewDisposeScope();
        IReadOnlyList<double> errors = compute(problem).ErrorsAgainst(DoraFormula.Exact(problem, adapterType));
        table.Add([Names.Of(problem.DType), method, .. errors.Select(static error => error.ToString("0.0e+0", CultureInfo.InvariantCulture))]);
    }
}
