using FineTuneCore.Adapters;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Training;

namespace FineTuneCore.Generation;

/// <summary>What a user means by a model: a model directory, one with an adapter, or a run directory of ftc train.</summary>
internal sealed record ModelReference(ModelDirectory Base, string? Adapter, BaseFormat Format, string? ChatTemplate)
{
    /// <summary>Resolves --model and --adapter.</summary>
    /// <exception cref="FineTuneException">Nothing usable there.</exception>
    internal static ModelReference Resolve(string model, string? adapter)
    {
        if (RunManifest.Find(model) is { } manifest) return OfRun(model, manifest, adapter);
        string? resolved = adapter is null ? null : AdapterFiles.Resolve(adapter);
        RunManifest? trainedBy = resolved is null ? null : RunManifest.Find(Path.GetDirectoryName(Path.GetFullPath(resolved))!);
        return new ModelReference(ModelDirectory.Resolve(model), resolved, FormatOf(trainedBy), trainedBy?.ChatTemplate);
    }

    private static ModelReference OfRun(string run, RunManifest manifest, string? adapter)
    {
        string result = Path.Combine(run, manifest.Result);
        if (manifest.Result == "model")
        {
            if (!Directory.Exists(result)) throw Unfinished(run);
            return new ModelReference(ModelDirectory.Resolve(result), adapter is null ? null : AdapterFiles.Resolve(adapter), BaseFormat.AsStored, manifest.ChatTemplate);
        }

        string chosen = adapter ?? result;
        if (!Directory.Exists(chosen)) throw adapter is null ? Unfinished(run) : FineTuneException.Failed($"{adapter} does not exist.");
        return new ModelReference(ModelDirectory.Resolve(manifest.BaseModel), AdapterFiles.Resolve(chosen), FormatOf(manifest), manifest.ChatTemplate);
    }

    /// <summary>A QLoRA adapter is used on the kind of base it was trained on.</summary>
    private static BaseFormat FormatOf(RunManifest? run) => run?.Method == "qlora" ? BaseFormat.Nf4 : BaseFormat.AsStored;

    private static FineTuneException Unfinished(string run) => FineTuneException.Failed(
        $"{run} is a run that has not finished: it has no result yet. Continue it with ftc train --output {run} --resume, or name one of its checkpoints as --adapter.");
}
