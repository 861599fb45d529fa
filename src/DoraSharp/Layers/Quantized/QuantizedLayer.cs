using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>
/// A layer whose weight is quantized, and therefore frozen: codes as the parameter <c>weight</c>, which never takes a gradient,
/// scales as buffers. The state dict, <c>save</c> and <c>load</c> have all of it.
/// </summary>
/// <remarks>
/// <c>to(device)</c> moves codes and scales; <c>to(dtype)</c> leaves their bits alone and changes <see cref="ComputeType"/> and
/// the bias. The buffers are named as bitsandbytes names them, with <c>weight.nested_offset</c> besides, which there is part of a text.
/// </remarks>
public abstract class QuantizedLayer : nn.Module<Tensor, Tensor>
{
    private const string NameOfWeight = "weight";

    [ComponentName(Name = NameOfWeight)]
    private Parameter weightParameter;
    [ComponentName(Name = "weight.nested_offset")]
    private Tensor? offset;
    private long offsetVersion;
    private QuantizedTensor packed;

    private protected QuantizedLayer(string name, QuantizedTensor weight, ScalarType? computeType)
        : base(name)
    {
        packed = weight;
        ComputeType = Checked(computeType ?? weight.DType);
        weightParameter = CodesOf(weight);
        RegisterComponents();
        RegisterBuffers();
    }

    /// <summary>The weight as it is quantized. It stays the layer's, and is another object after <c>to(device)</c>.</summary>
    public QuantizedTensor Weight
    {
        get
        {
            // Loading writes into the tensors; this number is kept apart from them.
            if (offset is not null && packed is FourBitTensor { Nested: { } nested } fourBit && !IsKnown(offset) && offset.item<float>() is var value && !value.Equals(nested.Offset))
            {
                packed = QuantizedParts.WithOffset(fourBit, value);
            }

            return packed;
        }
    }

    /// <summary>The dtype that the weight is decoded to and that products are computed in: float32, bfloat16, float16 or float64.</summary>
    public ScalarType ComputeType { get; private set; }

    /// <summary>What the registered weight holds: the codes, or the dense weight while one is shown.</summary>
    internal Parameter Stored => weightParameter;

    /// <summary>The dense weight that takes the place of the quantized one; <see langword="null"/> nearly always.</summary>
    internal Tensor? Dense => weightParameter.is_floating_point() ? weightParameter : null;

    /// <summary>All that the weight follows from: the codes and their scales, or the dense weight.</summary>
    internal Tensor[] Sources => Dense is { } dense ? [dense] : [weightParameter, .. _internal_buffers.Values.Select(static entry => entry.Item1)];

    /// <summary>The type of the layer that a dense weight makes of this one.</summary>
    internal abstract Type DenseType { get; }

    /// <summary>The dense layer that this one has become by a merge. This one is disposed.</summary>
    internal abstract nn.Module TakeDense();

    /// <summary>Lets the layer hold, and run on, a dense weight; the quantized one is kept for <see cref="ShowQuantized"/>.</summary>
    /// <param name="dense">In the quantized weight's shape and the compute type; it becomes the layer's.</param>
    internal void ShowDense(Tensor dense)
    {
        Register(AsParameter(dense));
        UnregisterBuffers();
    }

    /// <summary>Lets the layer hold and run on the quantized weight again.</summary>
    internal void ShowQuantized()
    {
        MoveTo(weightParameter.device);
        Register(CodesOf(packed));
        RegisterBuffers();
    }

    /// <summary>Puts another quantized weight in place.</summary>
    /// <returns>The one that was there, which is the caller's now.</returns>
    internal QuantizedTensor Exchange(QuantizedTensor weight)
    {
        QuantizedTensor before = packed;
        UnregisterBuffers();
        packed = weight;
        MoveTo(weightParameter.device);
        Register(CodesOf(packed));
        RegisterBuffers();
        return before;
    }

    /// <inheritdoc/>
    public override IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
    {
        StateRequests.Note();
        return base.named_buffers(recurse, include_nonpersistent);
    }

    /// <inheritdoc/>
    protected override void _toEpilog(ScalarType? dtype, Device? device, bool non_blocking)
    {
        if (device is not null && Dense is null && !IsAt(device))
        {
            UnregisterBuffers();
            MoveTo(device);
            Register(CodesOf(packed));
            RegisterBuffers();
        }

        foreach ((string name, Parameter parameter) in named_parameters(recurse: false).ToList())
        {
            if (parameter.is_floating_point() && ReplaceParameter(dtype, device, parameter, out Parameter? moved))
            {
                ReplaceParameter(name, moved!);
            }
        }

        ComputeType = dtype is { } type ? Checked(type) : ComputeType;
        if (device is not null)
        {
            (_deviceType, _deviceIndex) = (device.type, device.index);
        }
    }

    /// <summary>Puts a parameter that was moved or converted in the place of the one that was there.</summary>
    private protected virtual void ReplaceParameter(string name, Parameter moved) => Register(moved);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
        {
            packed.Dispose();
        }
    }

    private static ScalarType Checked(ScalarType type) => type is ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Float16 or ScalarType.Float64
        ? type
        : throw new ArgumentException($"A quantized layer cannot compute in {type}: take float32, bfloat16, float16 or float64.", nameof(type));

    // Another handle to the codes' memory: making a parameter of a tensor empties it.
    private static Parameter CodesOf(QuantizedTensor weight) => AsParameter(weight.Codes.alias());

    private static Parameter AsParameter(Tensor tensor) => (Parameter)new Parameter(tensor, requires_grad: false).DetachFromDisposeScope();

    private bool IsAt(Device device) => packed.Device.type == device.type && (packed.Device.index == device.index || device.index < 0);

    private void MoveTo(Device device)
    {
        if (!IsAt(device))
        {
            using QuantizedTensor before = Weight;
            packed = before.To(device);
        }
    }

    private void Register(Parameter weight)
    {
        weightParameter.Dispose();
        weightParameter = weight;
        ConditionallyRegisterParameter(NameOfWeight, weight);
    }

    private void RegisterBuffers()
    {
        foreach ((string name, Tensor buffer) in QuantizedParts.Buffers(packed))
        {
            ConditionallyRegisterBuffer(name, buffer);
        }

        if (packed is FourBitTensor { Nested: { } nested })
        {
            offset = tensor(new[] { nested.Offset }, device: packed.Device).DetachFromDisposeScope();
            offsetVersion = VersionOf(offset);
            ConditionallyRegisterBuffer(QuantizedParts.NameOfOffset, offset);
        }
    }

    private void UnregisterBuffers()
    {
        foreach (string name in _internal_buffers.Keys.ToList())
        {
            _internal_buffers.Remove(name);
        }

        _ = Weight;
        offset?.Dispose();
        offset = null;
    }

    // On the CPU load writes raw memory, which no version tells of; on a GPU reading a number waits for all that goes before.
    private bool IsKnown(Tensor scalar)
    {
        if (scalar.device_type == TorchSharp.DeviceType.CPU)
        {
            return false;
        }

        long before = offsetVersion;
        offsetVersion = VersionOf(scalar);
        return offsetVersion >= 0 && offsetVersion == before;
    }

    private static long VersionOf(Tensor tensor) => TensorVersions.HasVersion(tensor) ? TensorVersions.Of(tensor) : -1;
}
