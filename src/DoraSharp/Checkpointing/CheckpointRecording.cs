using TorchSharp;
using static TorchSharp.torch;

namespace DoraSharp;

/// <summary>A call that is to be repeated in the backward pass, while it runs for the first time.</summary>
/// <remarks>
/// It runs with a graph, which is dropped at its end: so it computes exactly what it would compute otherwise, it shows whether its outputs need
/// gradients at all, and no mode has to be switched back when it throws. The most memory is still that of one part's repetition.
/// </remarks>
internal sealed class CheckpointRecording : IDisposable
{
    /// <summary>The hooked calls that run now. One whose module threw may still be there.</summary>
    [ThreadStatic]
    private static List<CheckpointRecording>? hooked;

    private readonly Tensor[] inputs;
    private readonly long[] versions;
    private readonly nn.Module? module;
    private readonly ModuleState? state;
    private readonly List<AdapterUse> uses = [];
    private readonly IDisposable watch;
    private readonly RepeatedRandomness randomness;
    private readonly DisposeScope scope;
    private bool hasEnded;

    /// <summary>Starts to record a call.</summary>
    /// <param name="inputs">Its tensors.</param>
    /// <param name="module">What is called; <see langword="null"/> for a function.</param>
    /// <exception cref="InvalidOperationException">It runs on substituted weights that a repetition would not see.</exception>
    public CheckpointRecording(Tensor[] inputs, nn.Module? module)
    {
        using (AdapterUse.Watch(uses))
        {
            WeightSubstitution.NoteRepeated(module);
        }

        this.inputs = inputs;
        this.module = module;
        versions = Array.ConvertAll(inputs, ModuleState.VersionOf);
        state = module is null ? null : new ModuleState(module);
        randomness = new RepeatedRandomness(Array.Exists(inputs, static input => input.device_type == DeviceType.CUDA));
        watch = AdapterUse.Watch(uses);
        scope = NewDisposeScope();
    }

    /// <summary>Starts to record a call that hooks surround.</summary>
    public static CheckpointRecording BeginHooked(Tensor[] inputs, nn.Module module)
    {
        hooked ??= [];
        if (hooked.Find(recording => ReferenceEquals(recording.module, module)) is { } thrown)
        {
            // A module does not run inside of itself, so that call has thrown. What was made since is somebody else's.
            thrown.scope.Detach(thrown.scope.DisposablesView);
            thrown.Dispose();
        }

        CheckpointRecording recording = new(inputs, module);
        hooked.Add(recording);
        return recording;
    }

    /// <summary>Ends the call.</summary>
    /// <param name="outputs">What it returned.</param>
    /// <param name="again">The call as a function of its inputs.</param>
    /// <returns>The outputs, which repeat the call when gradients come to them.</returns>
    /// <exception cref="InvalidOperationException">An input was changed in place.</exception>
    public Tensor[] End(Tensor[] outputs, Func<Tensor[], Tensor[]> again)
    {
        Close();
        bool isRandom = randomness.End();
        RefuseChangedInputs();
        if (!Array.Exists(outputs, static output => output.requires_grad))
        {
            return Leave(outputs);
        }

        CheckpointPass pass = new(again, outputs, state, uses, isRandom ? randomness : null);
        return Leave(pass.Attach(inputs));
    }

    /// <summary>Ends a call that threw; does nothing after <see cref="End"/>.</summary>
    public void Dispose()
    {
        if (!hasEnded)
        {
            Close();
            randomness.Dispose();
            Leave([]);
        }
    }

    private Tensor[] Leave(Tensor[] kept)
    {
        scope.MoveToOuter(kept);
        scope.Dispose();
        hasEnded = true;
        return kept;
    }

    private void RefuseChangedInputs()
    {
        for (int i = 0; i < inputs.Length; i++)
        {
            if (ModuleState.VersionOf(inputs[i]) != versions[i])
            {
                throw new InvalidOperationException(
                    $"A gradient checkpoint must be able to run again, but its input {i} ([{string.Join(", ", inputs[i].shape)}]) was changed in place. Let it work on a copy.");
            }
        }
    }

    private void Close()
    {
        hooked?.Remove(this);
        watch.Dispose();
    }
}
