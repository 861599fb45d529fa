using DoraSharp.Benchmarks;

return BenchmarkCommand.Create().Parse(args).Invoke();
