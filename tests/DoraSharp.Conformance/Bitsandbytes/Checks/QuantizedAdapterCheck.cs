using static TorchSharp.torch;

namespace DoraSharp.Conformance;

/// <summary>An adapter of PEFT over quantized layers: outputs, gradients, the fresh magnitude, and what merging makes of the base.</summary>
internal static class QuantizedAdapterCheck
{
    private static readonly Tolerance OfExactMerge = new(1e-6);

    public static void Run(BitsandbytesCase subject)
    {
        bool dora = subject.Fields.GetProperty("use_dora").GetBoolean();
        ScalarType computeType = BitsandbytesCase.Type(subject.Fields, "compute_dtype");
        TensorFile io = subject.File("io.safetensors");
        using QuantizedNet model = QuantizedNet.Load(subject, computeType, out IReadOnlyList<(string, QuantizedLinear)> layers);
        CheckBase(subject, layers);
        if (dora)
        {
            CheckFreshMagnitudes(subject, io, computeType);
        }

        using AdaptedModel adapted = AdaptedModel.Load(model, Path.Combine(subject.Folder, "adapter"));
        Tensor x = io.Read("x").requires_grad_(true);
        Tensor y = model.call(x);
        y.backward([io.Read("dy")]);
        subject.Expect.Close("y", y, io.Read("y"), subject.RelativeTolerance);
        subject.Expect.Close("y_exact", y, io.Read("y_exact"), subject.RelativeTolerance);
        subject.Expect.Close("dx", x.grad, io.Read("dx"), subject.RelativeTolerance);
        foreach (string name in io.Names.Where(static name => name.StartsWith("grad.", StringComparison.Ordinal)))
        {
            Tensor expected = io.Read(name);
            subject.Expect.Close(name, PeftApi.Gradient(adapted, AdapterDescription.DefaultName, name["grad.".Length..], expected.shape), expected, subject.RelativeTolerance);
        }

        Merge(subject, model, layers, adapted, computeType, x.detach());
    }

    private static void CheckBase(BitsandbytesCase subject, IReadOnlyList<(string, QuantizedLinear)> layers)
    {
        TensorFile source = subject.File("source.safetensors"), stored = subject.File("base.safetensors"), merged = subject.File("merged.safetensors");
        foreach ((string name, QuantizedLinear layer) in layers)
        {
            StoredWeight.Check(subject, stored, $"{name}.weight", source.Read($"{name}.weight"), (FourBitTensor)layer.Weight);
            subject.Decoded($"{name}.dequantized_base_f32", layer.Weight.Dequantize(ScalarType.Float32), merged.Read($"{name}.dequantized_base_f32"));
            if (stored.TryRead($"{name}.bias", out Tensor? bias))
            {
                subject.Expect.Same($"{name}.bias", bias, source.Read($"{name}.bias"));
            }
        }
    }

    /// <summary>The magnitude of an adapter that nothing was trained of: the norms of the decoded rows. PEFT computes them in the base's type.</summary>
    private static void CheckFreshMagnitudes(BitsandbytesCase subject, TensorFile io, ScalarType computeType)
    {
        using QuantizedNet model = QuantizedNet.Load(subject, computeType, out IReadOnlyList<(string, QuantizedLinear)> layers);
        int rank = subject.Fields.GetProperty("r").GetInt32();
        using AdaptedModel fresh = AdapterInjector.Inject(model, new LoraOptions { Rank = rank, UseDora = true, TargetModules = ["fc1", "fc2"] });
        foreach ((string name, _) in layers)
        {
            string key = $"{name}.lora_magnitude_vector";
            Tolerance tolerance = computeType == ScalarType.Float32 ? new(1e-6) : new(2 * Rounding.HalfUnit(computeType));
            subject.Expect.Close($"initial.{key}", PeftApi.Parameters(fresh, AdapterDescription.DefaultName)[key], io.Read($"initial.{key}"), tolerance);
        }
    }

    private static void Merge(BitsandbytesCase subject, QuantizedNet model, IReadOnlyList<(string, QuantizedLinear)> layers, AdaptedModel adapted, ScalarType computeType, Tensor x)
    {
        using var noGrad = no_grad();
        TensorFile merged = subject.File("merged.safetensors"), io = subject.File("io.safetensors");
        Tensor before = model.call(x);
        adapted.Merge();
        foreach ((string name, QuantizedLinear layer) in layers)
        {
            Tolerance tolerance = computeType == ScalarType.Float32 ? OfExactMerge : new(Rounding.HalfUnit(computeType));
            subject.Expect.Close($"{name}.merged_exact_f32", layer.Dense, merged.Read($"{name}.merged_exact_f32"), tolerance);
        }

        adapted.Unmerge();
        subject.Expect.Same("y after unmerging", model.call(x), before);

        Dictionary<string, MergedLayer> report = adapted.Merge(requantize: true).Layers.ToDictionary(static layer => layer.Path);
        bool identical = true;
        foreach ((string name, QuantizedLinear layer) in layers)
        {
            double expected = subject.Fields.GetProperty("merge").GetProperty(name).GetProperty("merge_rel_error").GetDouble();
            subject.Expect.Require(Math.Abs(report[name].RelativeError - expected) <= 0.01 * expected, name, $"requantizing costs {report[name].RelativeError:0.00000}, expected {expected:0.00000}");
            identical &= CompareRequantized(subject, merged, name, (FourBitTensor)layer.Weight);
        }

        // A code that fell on the other side of a threshold moves the outputs by more than rounding.
        subject.Expect.Close("y_peft_merged", model.call(x), io.Read("y_peft_merged"), identical ? subject.RelativeTolerance : new(IsFloat32(subject) ? 0.03 : 0.08));
    }

    private static bool CompareRequantized(BitsandbytesCase subject, TensorFile merged, string name, FourBitTensor weight)
    {
        Tensor expected = merged.Read($"{name}.peft_merged_packed");
        subject.Expect.Require(weight.Codes.shape.SequenceEqual(expected.shape), $"{name}.peft_merged_packed", "has another shape");
        Tensor apart = (Levels(weight.Codes, weight.Options.Format) - Levels(expected, weight.Options.Format)).abs();
        long differing = apart.count_nonzero().item<long>();
        subject.Expect.Require(differing <= Allowed(subject, apart.numel()), $"{name}.peft_merged_packed", $"{differing} of {apart.numel()} codes differ");
        subject.Expect.Require(apart.max().item<long>() <= (IsFloat32(subject) ? 1 : 2), $"{name}.peft_merged_packed", $"codes are up to {apart.max().item<long>()} levels apart");
        foreach (string part in ((string[])["absmax", "nested_absmax", "nested_offset"]).Where(part => merged.Has($"{name}.peft_merged_{part}")))
        {
            Tensor value = part switch
            {
                "absmax" => weight.Scales,
                "nested_absmax" => weight.Nested!.Scales,
                _ => tensor(new[] { weight.Nested!.Offset }),
            };
            Tolerance tolerance = part == "absmax" && value.dtype == ScalarType.Byte ? new(0, IsFloat32(subject) ? 1 : 8) : subject.RelativeTolerance;
            subject.Expect.Close($"{name}.peft_merged_{part}", value, merged.Read($"{name}.peft_merged_{part}"), tolerance);
        }

        Tensor decoded = merged.Read($"{name}.peft_merged_dequant_f32");
        double error = ((weight.Dequantize(ScalarType.Float32) - decoded).norm() / decoded.norm()).item<float>();
        subject.Expect.Require(error <= (IsFloat32(subject) ? 0.01 : 0.04), $"{name}.peft_merged_dequant_f32", $"relative error {error:0.0e+0}");
        return differing == 0;
    }

    /// <summary>Which of the 16 levels, ascending, each code stands for, int64 [elements].</summary>
    private static Tensor Levels(Tensor packed, QuantizationFormat format)
    {
        Tensor ranks = CodeMap.Of(format).On(CPU).Order.to(ScalarType.Int64).argsort();
        Tensor bytes = packed.flatten().to(ScalarType.Int64);
        return ranks.index_select(0, stack([bytes.floor_divide(16), bytes.remainder(16)], dim: 1).flatten());
    }

    // Where PEFT adds in bfloat16, many a value is rounded to the other side of a threshold.
    private static long Allowed(BitsandbytesCase subject, long codes) => IsFloat32(subject) ? codes / 1000 : codes / 20;

    private static bool IsFloat32(BitsandbytesCase subject) => BitsandbytesCase.Type(subject.Fields, "compute_dtype") == ScalarType.Float32;
}
