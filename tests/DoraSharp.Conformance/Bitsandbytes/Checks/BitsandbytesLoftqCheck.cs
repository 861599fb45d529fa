using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>LoftQ: the first iteration as it is, later ones by how near base and update come to the weight.</summary>
internal static class BitsandbytesLoftqCheck
{
    private static readonly Tolerance OfProduct = new(0, 1e-5);

    public static void Run(BitsandbytesCase subject)
    {
        Tensor source = subject.Tensors.Read("source");
        foreach (BitsandbytesEntry entry in subject.Entries)
        {
            int rank = entry.Fields.GetProperty("r").GetInt32(), iterations = entry.Fields.GetProperty("num_iter").GetInt32();
            InitialFactorsOf(source, rank, iterations, out Tensor product, out Tensor frozen);
            using FourBitTensor quantized = (FourBitTensor)QuantizedTensor.Quantize(frozen, new() { DoubleQuantization = false });
            Tensor expected = entry.Read("BA"), factors = entry.Read("B").matmul(entry.Read("A")), stored = entry.Read("base_dequant");
            using FourBitTensor theirs = new(entry.Read("base_packed"), entry.Read("base_absmax"), null, source.shape, source.dtype, quantized.Options);

            // The reference's own parts belong together.
            subject.Expect.Close(entry.Key("B A"), factors, expected, OfProduct);
            subject.Expect.Same(entry.Key("base_dequant"), theirs.Dequantize(), stored);
            if (iterations == 1)
            {
                subject.Expect.Close(entry.Key("BA"), product, expected, OfProduct);
                subject.Expect.Same(entry.Key("base_dequant"), frozen, stored);
                entry.Same("base_packed", quantized.Codes);
                entry.Same("base_absmax", quantized.Scales);
            }

            double error = (source - frozen - product).norm().item<float>(), wanted = entry.Fields.GetProperty("final_error").GetDouble();
            double given = (source - stored - expected).norm().item<float>();
            subject.Expect.Require(Math.Abs(given - wanted) <= 1e-4 * wanted, entry.Key("final_error"), $"is {wanted:0.00000}, and the case's tensors give {given:0.00000}");
            subject.Expect.Require(error <= 1.01 * wanted, entry.Name, $"base and update are {error:0.00000} from the weight, expected {wanted:0.00000}");
        }
    }

    private static void InitialFactorsOf(Tensor source, int rank, int iterations, out Tensor product, out Tensor frozen)
    {
        DoraSharp.InitialFactors factors = LoftqInitializer.Create(source, rank, scaling: 1, iterations, ScalarType.Float32);
        (product, frozen) = (factors.B.matmul(factors.A), factors.Residual!);
    }
}
