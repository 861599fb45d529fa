using CsCheck;

namespace DoraSharp.Tests.Targeting.Patterns;

/// <summary>What Python 3.11's <c>re</c> answers, and that no pattern brings the process down or hangs.</summary>
public class PythonPatternTests
{
    [Theory]
    [InlineData("(?P<n>a)(b)\\2(?P=n)", "abba")]
    [InlineData("(a)(?P<n>b)\\2", "abb")]
    [InlineData("a{,2}b", "aab")]
    [InlineData("a{,}b", "aaaab")]
    [InlineData("a{x}", "a{x}")]
    [InlineData("x{", "x{")]
    [InlineData("[]a]+", "a]")]
    [InlineData("[^]a]", "b")]
    [InlineData("[a-]+", "a-")]
    [InlineData("[!-[a]+", "[a")]
    [InlineData("[\\d_]+", "٣_")]
    [InlineData("\\w+", "é٣²_漢Ⅷ")]
    [InlineData("\\w+", "e\u0301", false)]
    [InlineData("(?a)\\w+", "é", false)]
    [InlineData("(?a:\\w)é", "aé")]
    [InlineData(".", "𝕏")]
    [InlineData("..", "𝕏", false)]
    [InlineData("[𝕎-𝕐]", "𝕏")]
    [InlineData(".", "\n", false)]
    [InlineData("(?s).", "\n")]
    [InlineData("\\s+", " \t\u001c\u00a0\u3000")]
    [InlineData("(?i)i+", "iIİı")]
    [InlineData("(?i)[a-z]+", "ſK\u212a")]
    [InlineData("(?ia)k", "\u212a", false)]
    [InlineData("(?i)σ+", "σςΣ")]
    [InlineData("(?i)(ß)\\1", "ßẞ")]
    [InlineData("(?i:A)a", "aa")]
    [InlineData("(?i:A)a", "aA", false)]
    [InlineData("(?i)a(?-i:b)", "AB", false)]
    [InlineData("(?x) a  # comment\n b [ ] c", "ab c")]
    [InlineData("a(?#any)*b", "aaab")]
    [InlineData("a*+a", "aaa", false)]
    [InlineData("(?>a|ab)c", "abc", false)]
    [InlineData("(?=ab)a(?!c)b", "ab")]
    [InlineData("a(?<=a)(?<!b)b", "ab")]
    [InlineData("(a)?(?(1)b|c)", "ab")]
    [InlineData("(a)?(?(1)b|c)", "c")]
    [InlineData("(?:(?(1)b|a)|(c))+", "acb")]
    [InlineData("(a|b)*?b", "abab")]
    [InlineData("(a?)*b", "aab")]
    [InlineData("(?:|a)+b", "aab")]
    [InlineData("(?m)a$\n^b", "a\nb")]
    [InlineData("a$\n", "a\n")]
    [InlineData("a\\Z\n", "a\n", false)]
    [InlineData("\\ba\\b.\\Bb", "a b", false)]
    [InlineData("\\x61\\u0062\\U00000063\\144\\0", "abcd\0")]
    [InlineData("[\\b]", "\b")]
    public void MatchesAll_Pattern_AnswersAsPython(string pattern, string text, bool expected = true) =>
        PythonPattern.Parse(pattern).MatchesAll(text).Should().Be(expected);

    [Theory]
    [InlineData("*a", "nothing to repeat")]
    [InlineData("{1}", "nothing to repeat")]
    [InlineData("^*", "nothing to repeat")]
    [InlineData("a**", "repeated")]
    [InlineData("a{2}{3}", "repeated")]
    [InlineData("a{3,2}", "least")]
    [InlineData("(a", "not closed")]
    [InlineData("a)", "closes no group")]
    [InlineData("[a", "ends")]
    [InlineData("[b-a]", "range")]
    [InlineData("[\\d-a]", "range")]
    [InlineData("a\\", "ends")]
    [InlineData("\\q", "no escape")]
    [InlineData("\\xg1", "hexadecimal")]
    [InlineData("\\777", "octal")]
    [InlineData("(a\\1)", "still open")]
    [InlineData("\\1", "not there")]
    [InlineData("(?P<1>a)", "no name")]
    [InlineData("(?P<n>a)(?P<n>b)", "two groups")]
    [InlineData("(?P=n)", "no group")]
    [InlineData("(?(2)a|b)(c)", "no group")]
    [InlineData("(a)(?(1)b|c|d)", "two branches")]
    [InlineData("a(?i)", "start")]
    [InlineData("(?L)a", "no group begins")]
    [InlineData("(?au)a", "contradict")]
    [InlineData("(?i-i:a)", "contradict")]
    [InlineData("(?<=a+)b", "fixed width")]
    [InlineData("a{99999999999}", "too great")]
    public void Parse_NoExpressionOfPythons_SaysWhy(string pattern, string why) =>
        FluentActions.Invoking(() => PythonPattern.Parse(pattern)).Should().Throw<PatternSyntaxException>().WithMessage($"*{why}*");

    [Theory]
    [InlineData("(a+)+b")]
    [InlineData("(a|a)*b")]
    [InlineData("(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)b")]
    [InlineData("(?=(a+)+b)")]
    public void MatchesAll_PatternOfExponentialCost_IsRefusedAfterABoundedNumberOfSteps(string pattern)
    {
        PythonPattern subject = PythonPattern.Parse(pattern);
        string text = new('a', 500);
        FluentActions.Invoking(() => subject.MatchesAll(text)).Should().Throw<PatternCostException>();

        // What was spent is not given again for the next text.
        FluentActions.Invoking(() => subject.MatchesAll(text)).Should().Throw<PatternCostException>();
    }

    [Fact]
    public void MatchesAll_ManyTextsOfATamePattern_NeverRunsOut()
    {
        PythonPattern subject = PythonPattern.Parse(@"(.*\.)?(layers\.\d+\..*(q|v)_proj)$");
        string path = "model.language_model.decoder.layers.17.self_attn.q_proj";
        Enumerable.Range(0, 30_000).Count(_ => subject.MatchesAll(path)).Should().Be(30_000);
    }

    [Theory]
    [InlineData("(", ")")]
    [InlineData("(?=", ")")]
    [InlineData("(?:a|", ")*")]
    public void Parse_DeepNesting_IsRefused(string open, string close)
    {
        string pattern = string.Concat(Enumerable.Repeat(open, 100_000)) + string.Concat(Enumerable.Repeat(close, 100_000));
        FluentActions.Invoking(() => PythonPattern.Parse(pattern)).Should().Throw<PatternSyntaxException>();
    }

    [Fact]
    public void MatchesAll_VeryLongText_IsMatchedOrRefused()
    {
        string text = new('a', 1_000_000);
        PythonPattern.Parse(".*").MatchesAll(text).Should().BeTrue();
        FluentActions.Invoking(() => PythonPattern.Parse("(?:a|b)*").MatchesAll(text)).Should().Throw<PatternCostException>();
    }

    [Fact]
    public void Parse_AnyTextOfSpecialCharacters_MatchesOrIsRefused() =>
        Gen.Char["()[]{}*+?|\\^$.,:=!<>#-PiasmxuL019abdwsSnZ \n"].Array[0, 24].Select(static characters => new string(characters)).Sample(
            static pattern =>
            {
                try
                {
                    PythonPattern subject = PythonPattern.Parse(pattern);
                    return !subject.MatchesAll("a.b0 s") || subject.MatchesStart("a.b0 s");
                }
                catch (PatternSyntaxException e)
                {
                    return e.Message.Length > 0;
                }
                catch (PatternCostException)
                {
                    return true;
                }
            },
            iter: 20_000,
            seed: "0000KPVyoyUf");

    [Fact]
    public void MatchesAll_EscapedText_MatchesThatTextAlone() =>
        Gen.String[0, 12].Where(static text => !text.Any(char.IsSurrogate)).Sample(
            static text =>
            {
                string escaped = string.Concat(text.Select(static c => char.IsAsciiLetterOrDigit(c) ? c.ToString() : "\\" + c));
                PythonPattern subject = PythonPattern.Parse(escaped);
                return subject.MatchesAll(text) && !subject.MatchesAll(text + "a") && (text.Length == 0 || !subject.MatchesAll(text[1..]));
            },
            iter: 2_000,
            seed: "0000KPVyoyUf");
}
