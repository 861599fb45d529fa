using DoraSharp;
using static TorchSharp.torch;

// A user's first program: adapt a model, train a step, save, merge. It exits with 0 if all of it holds.
string folder = Directory.CreateTempSubdirectory("dorasharp-check-").FullName;
try
{
    using var scope = NewDisposeScope();
    manual_seed(1);
    var (input, target) = (randn(64, 32), randn(64, 10));
    var model = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 10));
    using var adapted = AdapterInjector.Inject(model, new LoraOptions { Rank = 4, Alpha = 8, UseDora = true });
    using var optimizer = optim.AdamW(adapted.TrainableParameters(), lr: 1e-2);
    var before = nn.functional.mse_loss(model.call(input), target);
    before.backward();
    optimizer.step();
    var output = model.call(input);
    var after = nn.functional.mse_loss(output, target);

    adapted.Save(folder);
    adapted.MergeAndUnload();
    double error = ((model.call(input) - output).abs().max() / output.abs().max()).item<float>();
    Console.WriteLine($"{adapted.Report}\nloss {before.item<float>():0.0000} -> {after.item<float>():0.0000}, merged output differs by {error:0.0e+0}");
    using var saved = PeftFolder.Read(folder);
    return after.item<float>() < before.item<float>() && error < 1e-5 && saved.Tensors.Count == 6 ? 0 : 1;
}
finally
{
    Directory.Delete(folder, recursive: true);
}
