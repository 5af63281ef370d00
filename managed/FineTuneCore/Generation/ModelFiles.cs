using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Generation;

/// <summary>Tokenizer and chat template of a model directory, held against its config.</summary>
internal static class ModelFiles
{
    /// <summary>The tokenizer, or null where the directory has none.</summary>
    /// <exception cref="FineTuneException">It makes ids the model has no embedding for.</exception>
    internal static Tokenizer? TokenizerOf(ModelDirectory directory, ModelConfig config)
    {
        if (!File.Exists(directory.File("tokenizer.json")) && !File.Exists(directory.File("tokenizer.model"))) return null;
        Tokenizer tokenizer = Tokenizer.Load(directory.Path);
        if (tokenizer.VocabSize > config.VocabSize)
        {
            throw FineTuneException.Failed(
                $"{directory.Path}: the tokenizer makes ids up to {tokenizer.VocabSize - 1} ('{tokenizer.TokenOf(tokenizer.VocabSize - 1)}'), but config.json has vocab_size {config.VocabSize}; tokenizer and model belong to different models, or tokens were added without resizing the embedding.");
        }

        return tokenizer;
    }

    /// <summary>The template a user chose by name or file, else the model's own, else null.</summary>
    internal static ChatTemplate? TemplateOf(ModelDirectory directory, string? choice, Tokenizer? tokenizer)
    {
        if (choice is null || tokenizer is null) return ChatTemplate.FromModelDirectory(directory.Path);
        if (File.Exists(choice) || ChatTemplate.BundledNames.Contains(choice)) return ChatTemplate.Resolve(directory.Path, choice, tokenizer);
        throw FineTuneException.Usage(
            $"chat_template is '{choice}', which is neither a file nor a bundled template; bundled are {string.Join(", ", ChatTemplate.BundledNames)}.");
    }

    internal static FineTuneException NoTemplate(ModelDirectory directory) => FineTuneException.Usage(
        $"{directory.Path} has no chat template, so chats cannot be turned into text. Choose one with --chat-template: {string.Join(", ", ChatTemplate.BundledNames)}, or a .jinja file.");
}
