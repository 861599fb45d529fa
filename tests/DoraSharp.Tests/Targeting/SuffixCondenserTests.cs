using CsCheck;

namespace DoraSharp.Tests.Targeting;

public class SuffixCondenserTests
{
    private static readonly Gen<string> Path = Gen.Char["abc012"].Array[2, 5].Select(static parts => string.Join('.', parts));

    [Fact]
    public void Condense_LongList_MeansTheSameModulesWithFewerNames() =>
        Path.HashSet[60, 200].SelectMany(static paths => Gen.Int[20, 50].Select(count => (Paths: paths.ToArray(), Targets: paths.Order(StringComparer.Ordinal).Take(count).ToArray())))
            .Sample(
                static sample =>
                {
                    IReadOnlyList<string> condensed = SuffixCondenser.Condense(sample.Targets, sample.Paths);
                    return condensed.Count <= sample.Targets.Length && Meant(sample.Paths, condensed).SequenceEqual(Meant(sample.Paths, sample.Targets));
                },
                iter: 500,
                seed: "0000KPVyoyUf");

    [Fact]
    public void Condense_ShortList_StaysAsItIs()
    {
        string[] targets = [.. Enumerable.Range(0, 19).Select(static i => $"layers.{i}.q")];
        SuffixCondenser.Condense(targets, targets).Should().BeSameAs(targets);
        SuffixCondenser.Condense([.. targets, "layers.19.q"], [.. targets, "layers.19.q", "layers.0.k"]).Should().Equal("q");
    }

    private static IEnumerable<string> Meant(string[] paths, IReadOnlyList<string> names) => paths.Where(path => names.Any(name => ModuleNames.Names(name, path)));
}
