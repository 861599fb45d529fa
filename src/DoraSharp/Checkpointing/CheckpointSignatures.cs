using static TorchSharp.torch;

namespace DoraSharp;

/// <summary><see cref="CheckpointHooks"/> for each number of arguments that a module may have.</summary>
internal static class CheckpointSignatures
{
    private static readonly Dictionary<Type, Type> Signatures = new()
    {
        [typeof(nn.Module<,>)] = typeof(Call<,>),
        [typeof(nn.Module<,,>)] = typeof(Call<,,>),
        [typeof(nn.Module<,,,>)] = typeof(Call<,,,>),
        [typeof(nn.Module<,,,,>)] = typeof(Call<,,,,>),
        [typeof(nn.Module<,,,,,>)] = typeof(Call<,,,,,>),
        [typeof(nn.Module<,,,,,,>)] = typeof(Call<,,,,,,>),
    };

    /// <summary>The hooks for a base class of modules; <see langword="null"/> where it is none.</summary>
    public static Type? Of(Type definition) => Signatures.GetValueOrDefault(definition);

    private sealed class Call<T1, TResult> : CheckpointHooks
    {
        private readonly Action remove;

        public Call(nn.Module<T1, TResult> module, string path) : base(module, path)
        {
            Func<nn.Module<T1, TResult>, T1, TResult, TResult>? own = null;
            var before = module.register_forward_pre_hook((_, x1) =>
            {
                Before(x1);
                return x1;
            });
            own = (_, x1, result) => After(result, ReferenceEquals(ModuleInternals.Hooks<Func<nn.Module<T1, TResult>, T1, T1>, Func<nn.Module<T1, TResult>, T1, TResult, TResult>>.AfterForward(module).Values.Last(), own), a => module.call((T1)a[0]!), x1);
            var after = module.register_forward_hook(own);
            PutLastFirst(ModuleInternals.Hooks<Func<nn.Module<T1, TResult>, T1, T1>, Func<nn.Module<T1, TResult>, T1, TResult, TResult>>.BeforeForward(module));
            remove = before.remove;
            remove += after.remove;
        }

        public override void Dispose()
        {
            remove();
            base.Dispose();
        }
    }

    private sealed class Call<T1, T2, TResult> : CheckpointHooks
    {
        private readonly Action remove;

        public Call(nn.Module<T1, T2, TResult> module, string path) : base(module, path)
        {
            Func<nn.Module<T1, T2, TResult>, T1, T2, TResult, TResult>? own = null;
            var before = module.register_forward_pre_hook((_, x1, x2) =>
            {
                Before(x1, x2);
                return null;
            });
            own = (_, x1, x2, result) => After(result, ReferenceEquals(ModuleInternals.Hooks<Func<nn.Module<T1, T2, TResult>, T1, T2, (T1, T2)?>, Func<nn.Module<T1, T2, TResult>, T1, T2, TResult, TResult>>.AfterForward(module).Values.Last(), own), a => module.call((T1)a[0]!, (T2)a[1]!), x1, x2);
            var after = module.register_forward_hook(own);
            PutLastFirst(ModuleInternals.Hooks<Func<nn.Module<T1, T2, TResult>, T1, T2, (T1, T2)?>, Func<nn.Module<T1, T2, TResult>, T1, T2, TResult, TResult>>.BeforeForward(module));
            remove = before.remove;
            remove += after.remove;
        }

        public override void Dispose()
        {
            remove();
            base.Dispose();
        }
    }

    private sealed class Call<T1, T2, T3, TResult> : CheckpointHooks
    {
        private readonly Action remove;

        public Call(nn.Module<T1, T2, T3, TResult> module, string path) : base(module, path)
        {
            Func<nn.Module<T1, T2, T3, TResult>, T1, T2, T3, TResult, TResult>? own = null;
            var before = module.register_forward_pre_hook((_, x1, x2, x3) =>
            {
                Before(x1, x2, x3);
                return null;
            });
            own = (_, x1, x2, x3, result) => After(result, ReferenceEquals(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, TResult>, T1, T2, T3, (T1, T2, T3)?>, Func<nn.Module<T1, T2, T3, TResult>, T1, T2, T3, TResult, TResult>>.AfterForward(module).Values.Last(), own), a => module.call((T1)a[0]!, (T2)a[1]!, (T3)a[2]!), x1, x2, x3);
            var after = module.register_forward_hook(own);
            PutLastFirst(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, TResult>, T1, T2, T3, (T1, T2, T3)?>, Func<nn.Module<T1, T2, T3, TResult>, T1, T2, T3, TResult, TResult>>.BeforeForward(module));
            remove = before.remove;
            remove += after.remove;
        }

        public override void Dispose()
        {
            remove();
            base.Dispose();
        }
    }

    private sealed class Call<T1, T2, T3, T4, TResult> : CheckpointHooks
    {
        private readonly Action remove;

        public Call(nn.Module<T1, T2, T3, T4, TResult> module, string path) : base(module, path)
        {
            Func<nn.Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, TResult, TResult>? own = null;
            var before = module.register_forward_pre_hook((_, x1, x2, x3, x4) =>
            {
                Before(x1, x2, x3, x4);
                return null;
            });
            own = (_, x1, x2, x3, x4, result) => After(result, ReferenceEquals(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, (T1, T2, T3, T4)?>, Func<nn.Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, TResult, TResult>>.AfterForward(module).Values.Last(), own), a => module.call((T1)a[0]!, (T2)a[1]!, (T3)a[2]!, (T4)a[3]!), x1, x2, x3, x4);
            var after = module.register_forward_hook(own);
            PutLastFirst(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, (T1, T2, T3, T4)?>, Func<nn.Module<T1, T2, T3, T4, TResult>, T1, T2, T3, T4, TResult, TResult>>.BeforeForward(module));
            remove = before.remove;
            remove += after.remove;
        }

        public override void Dispose()
        {
            remove();
            base.Dispose();
        }
    }

    private sealed class Call<T1, T2, T3, T4, T5, TResult> : CheckpointHooks
    {
        private readonly Action remove;

        public Call(nn.Module<T1, T2, T3, T4, T5, TResult> module, string path) : base(module, path)
        {
            Func<nn.Module<T1, T2, T3, T4, T5, TResult>, T1, T2, T3, T4, T5, TResult, TResult>? own = null;
            var before = module.register_forward_pre_hook((_, x1, x2, x3, x4, x5) =>
            {
                Before(x1, x2, x3, x4, x5);
                return null;
            });
            own = (_, x1, x2, x3, x4, x5, result) => After(result, ReferenceEquals(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, T4, T5, TResult>, T1, T2, T3, T4, T5, (T1, T2, T3, T4, T5)?>, Func<nn.Module<T1, T2, T3, T4, T5, TResult>, T1, T2, T3, T4, T5, TResult, TResult>>.AfterForward(module).Values.Last(), own), a => module.call((T1)a[0]!, (T2)a[1]!, (T3)a[2]!, (T4)a[3]!, (T5)a[4]!), x1, x2, x3, x4, x5);
            var after = module.register_forward_hook(own);
            PutLastFirst(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, T4, T5, TResult>, T1, T2, T3, T4, T5, (T1, T2, T3, T4, T5)?>, Func<nn.Module<T1, T2, T3, T4, T5, TResult>, T1, T2, T3, T4, T5, TResult, TResult>>.BeforeForward(module));
            remove = before.remove;
            remove += after.remove;
        }

        public override void Dispose()
        {
            remove();
            base.Dispose();
        }
    }

    private sealed class Call<T1, T2, T3, T4, T5, T6, TResult> : CheckpointHooks
    {
        private readonly Action remove;

        public Call(nn.Module<T1, T2, T3, T4, T5, T6, TResult> module, string path) : base(module, path)
        {
            Func<nn.Module<T1, T2, T3, T4, T5, T6, TResult>, T1, T2, T3, T4, T5, T6, TResult, TResult>? own = null;
            var before = module.register_forward_pre_hook((_, x1, x2, x3, x4, x5, x6) =>
            {
                Before(x1, x2, x3, x4, x5, x6);
                return null;
            });
            own = (_, x1, x2, x3, x4, x5, x6, result) => After(result, ReferenceEquals(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, T4, T5, T6, TResult>, T1, T2, T3, T4, T5, T6, (T1, T2, T3, T4, T5, T6)?>, Func<nn.Module<T1, T2, T3, T4, T5, T6, TResult>, T1, T2, T3, T4, T5, T6, TResult, TResult>>.AfterForward(module).Values.Last(), own), a => module.call((T1)a[0]!, (T2)a[1]!, (T3)a[2]!, (T4)a[3]!, (T5)a[4]!, (T6)a[5]!), x1, x2, x3, x4, x5, x6);
            var after = module.register_forward_hook(own);
            PutLastFirst(ModuleInternals.Hooks<Func<nn.Module<T1, T2, T3, T4, T5, T6, TResult>, T1, T2, T3, T4, T5, T6, (T1, T2, T3, T4, T5, T6)?>, Func<nn.Module<T1, T2, T3, T4, T5, T6, TResult>, T1, T2, T3, T4, T5, T6, TResult, TResult>>.BeforeForward(module));
            remove = before.remove;
            remove += after.remove;
        }

        public override void Dispose()
        {
            remove();
            base.Dispose();
        }
    }
}
