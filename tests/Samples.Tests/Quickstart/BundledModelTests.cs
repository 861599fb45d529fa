using System.Globalization;
using System.Text.RegularExpressions;
using DoraSharp.Transformers;

namespace DoraSharp.Samples.Quickstart;

public partial class BundledModelTests
{
    private const long LargestBundle = 4 * 1024 * 1024;

    // The text is what the installed SDK's patch version brings, so it isn't quite the one of the provenance.
    private const double OtherSdk = 0.1;

    private static readonly string Folder = new QuickstartOptions().Model;

    [Fact]
    public void Folder_AllFiles_FitInTheRepository() =>
        new DirectoryInfo(Folder).GetFiles().Sum(file => file.Length).Should().BeInRange(1, LargestBundle);

    [Fact]
    public void HeldOutLoss_PretrainingText_IsWhatTheProvenanceSays()
    {
        double stated = double.Parse(
            StoredLoss().Match(File.ReadAllText(Path.Combine(Folder, "PROVENANCE.md"))).Groups[1].Value, CultureInfo.InvariantCulture);
        BaseModel baseModel = BaseModel.Open(Folder);
        using LlamaForCausalLM model = baseModel.LoadWeights();
        using HeldOutText heldOut = new(baseModel.Encode(PretrainingText.Read().HeldOut), 128, 256);

        heldOut.Loss(model).Should().BeApproximately(stated, OtherSdk);
    }

    [Fact]
    public void HeldOutLoss_AdaptationText_LeavesRoomToAdapt()
    {
        BaseModel baseModel = BaseModel.Open(Folder);
        using LlamaForCausalLM model = baseModel.LoadWeights();
        using HeldOutText known = new(baseModel.Encode(PretrainingText.Read().HeldOut), 48, 128);
        using HeldOutText adaptation = new(baseModel.Encode(AdaptationText.Read(null).HeldOut), 48, 128);

        adaptation.Loss(model).Should().BeGreaterThan(known.Loss(model) + 0.3);
    }

    [GeneratedRegex(@"([\d.]+) as stored")]
    private static partial Regex StoredLoss();
}
