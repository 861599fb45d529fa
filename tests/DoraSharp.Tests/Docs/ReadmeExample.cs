using static TorchSharp.torch;

namespace DoraSharp.Tests.Docs;

/// <summary>The README's code, compiled and run: <see cref="ReadmeTests"/> compares it with the README's text.</summary>
internal static class ReadmeExample
{
    public static (Tensor Before, Tensor Adapted, Tensor Merged) Run(string folder)
    {
        // <readme>
        // using DoraSharp; using static TorchSharp.torch;
        var (input, target) = (randn(64, 32), randint(10, 64, ScalarType.Int64));
        var model = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 10)); // any TorchSharp model
        var before = model.call(input);

        var options = new LoraOptions { Rank = 8, Alpha = 16, UseDora = true, TargetModules = ["0", "2"] };
        using var adapted = AdapterInjector.Inject(model, options); // changes the model in place
        Console.WriteLine(adapted.Report);

        using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2);
        for (int step = 0; step < 100; step++)
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            nn.functional.cross_entropy(model.call(input), target).backward();
            optimizer.step();
        }

        var trained = model.call(input);
        adapted.Save(folder); // a Hugging Face PEFT adapter folder
        adapted.MergeAndUnload(); // plain TorchSharp modules again, with merged weights
        var merged = model.call(input); // equals trained
        // </readme>
        return (before, trained, merged);
    }
}
