using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tests.Models;
using FluentAssertions;
using Xunit;

namespace FineTuneCore.Tests.Adapters;

/// <summary>An adapter of the reference, read and written again.</summary>
public sealed class PeftRoundTripTests
{
    [Fact]
    public void TheReferencesAdapterIsWrittenAgainWithEqualTensorsAndKeys()
    {
        string source = TestData.Path("models", "stories260K", "lora_golden");
        (LoraOptions options, string? baseModel) = PeftConfig.Read(source);
        string copy = Directory.CreateTempSubdirectory("ftc-adapter-").FullName;
        using (TinyModel model = TinyModel.Load(TestData.Path("models", "stories260K"), new WeightOptions { Lora = options }))
        {
            AdapterFiles.Read(source, model.Weights);
            AdapterFiles.Write(copy, model.Weights, options, baseModel);
        }

        using TensorFiles theirs = TensorFiles.Open(Path.Combine(source, "adapter_model.safetensors"));
        using TensorFiles ours = TensorFiles.Open(Path.Combine(copy, "adapter_model.safetensors"));
        ours.Names.Should().BeEquivalentTo(theirs.Names);
        foreach (string name in theirs.Names)
        {
            TensorEntry a = theirs.Require(name), b = ours.Require(name);
            (b.Type, b.ShapeText).Should().Be((a.Type, a.ShapeText));
            ours.Bytes(name).SequenceEqual(theirs.Bytes(name)).Should().BeTrue("{0} must keep its bits", name);
        }

        JsonElement before = Config(source), after = Config(copy);
        foreach (string key in (string[])["peft_type", "task_type", "bias", "fan_in_fan_out", "modules_to_save", "base_model_name_or_path"])
            after.GetProperty(key).ToString().Should().Be(before.GetProperty(key).ToString(), key);
        foreach (string key in (string[])["r", "lora_alpha", "lora_dropout"]) after.GetProperty(key).GetDouble().Should().Be(before.GetProperty(key).GetDouble(), key);
        foreach (string key in (string[])["use_rslora", "use_dora"])
            after.GetProperty(key).GetBoolean().Should().Be(before.TryGetProperty(key, out JsonElement flag) && flag.GetBoolean(), key);
        after.GetProperty("target_modules").EnumerateArray().Select(e => e.GetString())
            .Should().BeEquivalentTo(before.GetProperty("target_modules").EnumerateArray().Select(e => e.GetString()));
        Directory.Delete(copy, recursive: true);
    }

    [Fact]
    public void EveryOptionSurvivesTheRoundTrip()
    {
        var options = new LoraOptions
        {
            Rank = 3, Alpha = 12, UseRsLora = true, Dropout = 0.25, TargetModules = ["q_proj", "down_proj"], ExcludeModules = ["layers.1.mlp.down_proj"], LayersToTransform = [0, 1],
            RankPattern = new Dictionary<string, int> { ["down_proj"] = 5 }, AlphaPattern = new Dictionary<string, double> { ["down_proj"] = 7.5 },
            ModulesToSave = ["norm"],
        };
        using var checkpoint = new RandomCheckpoint(RandomCheckpoint.Llama());
        string copy = Directory.CreateTempSubdirectory("ftc-adapter-").FullName;
        using TinyModel model = TinyModel.Load(checkpoint.Directory, new WeightOptions { Lora = options });
        LoraInitialiser.Initialise(model.Weights, 5);
        AdapterFiles.Write(copy, model.Weights, options, "base");
        (LoraOptions read, string? baseModel) = PeftConfig.Read(copy);
        baseModel.Should().Be("base");
        (read.Rank, read.Alpha, read.UseRsLora, read.Dropout, read.TargetIsRegex).Should().Be((options.Rank, options.Alpha, options.UseRsLora, options.Dropout, false));
        read.TargetModules.Should().Equal(options.TargetModules);
        read.ExcludeModules.Should().Equal(options.ExcludeModules);
        read.LayersToTransform.Should().Equal(options.LayersToTransform);
        read.RankPattern.Should().BeEquivalentTo(options.RankPattern);
        read.AlphaPattern.Should().BeEquivalentTo(options.AlphaPattern);
        read.ModulesToSave.Should().Equal(options.ModulesToSave);
        using TinyModel again = TinyModel.Load(checkpoint.Directory, new WeightOptions { Lora = read });
        AdapterFiles.Read(copy, again.Weights);
        again.Weights.Lora.Keys.Should().BeEquivalentTo(model.Weights.Lora.Keys);
        foreach (Parameter parameter in model.Weights.Parameters.Parameters)
            AdapterFiles.Bytes(again.Weights, again.Weights.Parameters.Find(parameter.Name)!).Should().Equal(AdapterFiles.Bytes(model.Weights, parameter), parameter.Name);
        Directory.Delete(copy, recursive: true);
    }

    [Theory]
    [InlineData("model.layers.1.self_attn.v_proj")]
    [InlineData("all-linear")]
    public void TheWrittenConfigTargetsTheSameModules(string target)
    {
        var options = new LoraOptions { Rank = 2, TargetModules = [target] };
        using var checkpoint = new RandomCheckpoint(RandomCheckpoint.Llama());
        string copy = Directory.CreateTempSubdirectory("ftc-adapter-").FullName;
        using TinyModel model = TinyModel.Load(checkpoint.Directory, new WeightOptions { Lora = options });
        AdapterFiles.Write(copy, model.Weights, options, null);
        using TinyModel again = TinyModel.Load(checkpoint.Directory, new WeightOptions { Lora = PeftConfig.Read(copy).Options });
        again.Weights.Lora.Keys.Should().BeEquivalentTo(model.Weights.Lora.Keys);
        AdapterFiles.Read(copy, again.Weights);
        Directory.Delete(copy, recursive: true);
    }

    private static JsonElement Config(string directory)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(directory, "adapter_config.json")));
        return document.RootElement.Clone();
    }
}
