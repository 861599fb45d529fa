namespace DoraSharp.Tests.Quantization;

public class QuantizationOptionsTests
{
    [Fact]
    public void Defaults_AreThoseOfQlora()
    {
        QuantizationOptions options = new();
        (options.Format, options.BlockSize, options.DoubleQuantization).Should().Be((QuantizationFormat.Nf4, 64, true));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-64)]
    [InlineData(16)]
    [InlineData(48)]
    [InlineData(8192)]
    [InlineData(int.MinValue)]
    public void BlockSize_NoPowerOfTwoInRange_IsRefused(int size) =>
        FluentActions.Invoking(() => new QuantizationOptions { BlockSize = size }).Should().Throw<ArgumentOutOfRangeException>().WithMessage($"*power of two*32*4096*{size}*");

    [Fact]
    public void Format_Unknown_IsRefused() =>
        FluentActions.Invoking(() => new QuantizationOptions { Format = (QuantizationFormat)9 }).Should().Throw<ArgumentOutOfRangeException>().WithMessage("*Nf4*Fp4*Int8Rows*Blockwise8*");
}
