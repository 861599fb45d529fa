namespace DoraSharp.Samples.Common;

public class ReferencePackTests
{
    [Fact]
    public void FindDocumentation_SeveralVersions_TakesTheNewestThatHasFiles()
    {
        using TemporaryFolder folder = new();
        folder.Write("My.Pack/9.0.11/ref/net9.0/A.xml", "");
        string second = folder.Write("My.Pack/10.0.2/ref/net10.0/B.xml", "");
        string first = folder.Write("My.Pack/10.0.2/ref/net10.0/A.xml", "");
        folder.Write("My.Pack/10.0.2/ref/net10.0/A.dll", "");
        folder.Write("My.Pack/11.0.0-preview.1/ref/net11.0/A.dll", "");

        ReferencePack.FindDocumentation("My.Pack", ["/no/such/folder", folder.Path]).Should().Equal(first, second);
    }

    [Fact]
    public void FindDocumentation_PackageFolder_HasLowerCaseNames()
    {
        using TemporaryFolder folder = new();
        string file = folder.Write("my.pack/10.0.2/ref/net10.0/A.xml", "");

        ReferencePack.FindDocumentation("My.Pack", [folder.Path]).Should().Equal(file);
    }

    [Fact]
    public void FindDocumentation_NoSuchPack_IsEmpty() => ReferencePack.FindDocumentation("No.Such.Pack").Should().BeEmpty();

    [Fact]
    public void FindDocumentation_ThisSdk_HasTheClassLibrary() =>
        ReferencePack.FindDocumentation(PretrainingText.Pack).Select(Path.GetFileName).Should().Contain(["System.Runtime.xml", "System.Linq.xml"]);
}
