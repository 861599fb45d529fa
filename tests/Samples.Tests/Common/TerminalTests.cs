using System.Globalization;

namespace DoraSharp.Samples.Common;

public class TerminalTests
{
    [Fact]
    public void Show_RedirectedOutput_WritesPlainLines()
    {
        using TextConsole console = new();

        int result = new TrainingDisplay(console.Console).Show("DoRA", 3, report =>
        {
            for (int step = 1; step <= 3; step++)
            {
                report(new TrainingProgress(step, 3, 4.5 / step, 1234.5, TimeSpan.FromSeconds(65 * (3 - step))));
            }

            return 42;
        });

        result.Should().Be(42);
        console.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Should().Equal(
            "DoRA              1/3  loss 4.500    1,234 tokens/s  02:10 left",
            "DoRA              3/3  loss 1.500    1,234 tokens/s  00:00 left");
    }

    [Theory]
    [InlineData(59 * 60 + 59, "59:59 left")]
    [InlineData(60 * 60, "1:00:00 left")]
    [InlineData(27 * 60 * 60 + 62, "27:01:02 left")]
    public void Describe_RemainingTime_HasHoursFromOneUp(int seconds, string expected) =>
        TrainingDisplay.Describe(new TrainingProgress(1, 2, 3, 4, TimeSpan.FromSeconds(seconds))).Should().Be($"1/2  loss 3.000        4 tokens/s  {expected}");

    [Fact]
    public void Report_UserException_IsOneLineAndExitCode1()
    {
        TextWriter before = Console.Error;
        using StringWriter error = new(CultureInfo.InvariantCulture);
        Console.SetError(error);
        try
        {
            UserErrors.Report(() => throw new UserException("the file\nis empty")).Should().Be(1);
        }
        finally
        {
            Console.SetError(before);
        }

        error.ToString().Should().Be($"error: the file is empty{Environment.NewLine}");
    }

    [Fact]
    public void Report_Success_IsTheCommandsExitCode() => UserErrors.Report(() => 7).Should().Be(7);
}
