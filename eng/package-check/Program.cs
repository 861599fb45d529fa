using DoraSharp;
using static TorchSharp.torch;

var (input, target) = (randn(64, 32), randint(10, 64, ScalarType.Int64));
var model = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 10)); // any TorchSharp model
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

using var trained = model.call(input);
adapted.Save("adapter"); // a Hugging Face PEFT adapter folder
adapted.MergeAndUnload(); // plain TorchSharp modules again, with merged weights
using var merged = model.call(input); // equals trained

// What follows is not in the README: the check that the above holds.
double error = ((merged - trained).abs().max() / trained.abs().max()).item<float>();
using var saved = PeftFolder.Read("adapter");
Console.WriteLine($"merged output differs by {error:0.0e+0}; {saved.Tensors.Count} tensors saved");
return error < 1e-5 && saved.Tensors.Count == 6 && !model.modules().Any(module => module is AdaptedLinear) ? 0 : 1;
