using TorchSharp;

namespace DoraSharp.Tests.Native;

public class NativeLibraryTests
{
    [Fact]
    public void TorchOperation_InTheTestProcess_FindsItsNativeLibrary()
    {
        using torch.Tensor sums = torch.ones(2, 3).sum(dim: 0);

        sums.data<float>().ToArray().Should().Equal(2, 2, 2);
    }
}
