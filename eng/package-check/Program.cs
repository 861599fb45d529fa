using DoraSharp;
using TorchSharp;

using torch.Tensor sums = torch.ones(2, 3).sum(dim: 0);
if (!sums.data<float>().ToArray().SequenceEqual([2f, 2f, 2f]))
{
    Console.Error.WriteLine($"torch computed {sums.ToString(TensorStringStyle.Julia)} in place of 2, 2, 2");
    return 1;
}

var options = new LoraOptions { Rank = 4, Alpha = 8, UseDora = true };
Console.WriteLine($"torch runs; a DoRA adapter of rank {options.Rank} scales by {options.Scaling}");
return 0;
