using System.Runtime.CompilerServices;
using System.Text.Json;
using FineTuneCore.Adapters;
using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Models;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Generation;

/// <summary>One message of a chat.</summary>
/// <param name="Role">system, user or assistant.</param>
/// <param name="Content">What was said.</param>
public sealed record ChatMessage(string Role, string Content);

/// <summary>A model ready to answer: base weights, an adapter if any, tokenizer and chat template. One answer at a time.</summary>
public sealed class LanguageModel : IDisposable
{
    private const int PrefillRows = 256; // tokens of a prompt per forward pass

    private readonly IBackend _backend;
    private readonly HashSet<int> _endIds;
    private Decoder? _decoder;
    private int _positions;

    private LanguageModel(Device device, ModelReference reference, DecoderWeights weights, Tokenizer? tokenizer, ChatTemplate? template)
    {
        (Device, _backend, Reference, Weights, TokenizerOrNull, Template) = (device, device.Backend, reference, weights, tokenizer, template);
        _endIds = EndIds(reference.Base.File("generation_config.json"), weights.Config, tokenizer);
    }

    internal Device Device { get; }

    internal ModelReference Reference { get; }

    internal DecoderWeights Weights { get; }

    internal Tokenizer? TokenizerOrNull { get; }

    internal ChatTemplate? Template { get; }

    /// <summary>The model's tokenizer.</summary>
    /// <exception cref="FineTuneException">The model directory has none.</exception>
    public Tokenizer Tokenizer => TokenizerOrNull
        ?? throw FineTuneException.Failed($"{Reference.Base.Path} has neither tokenizer.json nor tokenizer.model; texts need one.");

    /// <summary>Most tokens of prompt and answer together.</summary>
    public int ContextLength => Weights.Config.MaxPositionEmbeddings;

    /// <summary>Loads a model directory, or a run directory of a finished training.</summary>
    /// <param name="model">Model directory, run directory, or org/name in the local Hugging Face cache.</param>
    /// <param name="adapter">A PEFT adapter directory or run directory; null = none, or the run's own.</param>
    /// <param name="chatTemplate">A bundled template's name or a file; null = the run's or the model's own.</param>
    /// <param name="threads">CPU threads; 0 = all this process may use.</param>
    /// <param name="device">auto, cpu, cuda, cuda:N, opencl or opencl:N; auto takes the first NVIDIA GPU where one can be used.</param>
    /// <param name="precision">auto, fp32 or bf16; auto is bf16 on CUDA, fp32 on the CPU.</param>
    /// <exception cref="FineTuneException">The files are missing, broken, unsupported, or do not fit in memory; or there is no such device.</exception>
    public static LanguageModel Load(
        string model, string? adapter = null, string? chatTemplate = null, int threads = 0, string device = "auto", string precision = "auto") =>
        Load(ModelReference.Resolve(model, adapter), chatTemplate, device, precision, threads);

    internal static LanguageModel Load(ModelReference reference, string? chatTemplate, string device, string precision, int threads)
    {
        ModelConfig config = ModelConfig.Load(reference.Base.ConfigPath);
        Tokenizer? tokenizer = ModelFiles.TokenizerOf(reference.Base, config);
        ChatTemplate? template = ModelFiles.TemplateOf(reference.Base, chatTemplate ?? reference.ChatTemplate, tokenizer);
        LoraOptions? lora = reference.Adapter is null ? null : PeftConfig.Read(reference.Adapter).Options;
        Device opened = Device.Open(device, precision, threads);
        DecoderWeights? weights = null;
        try
        {
            weights = DecoderWeights.Load(reference.Base, config, opened.Backend, new WeightOptions { Format = reference.Format, Precision = opened.Precision, Lora = lora });
            if (reference.Adapter is not null) AdapterFiles.Read(reference.Adapter, weights);
            if (weights.HasNf4) opened.Tune();
            return new LanguageModel(opened, reference, weights, tokenizer, template);
        }
        catch
        {
            weights?.Dispose();
            opened.Backend.Dispose();
            throw;
        }
    }

    /// <summary>Continues a text, piece by piece.</summary>
    /// <exception cref="FineTuneException">The prompt does not fit the context.</exception>
    public IEnumerable<string> Generate(string prompt, SamplingOptions? options = null, CancellationToken cancellation = default) =>
        Stream([.. Tokenizer.Encode(prompt, addSpecialTokens: true).Ids], options ?? new SamplingOptions(), cancellation);

    /// <summary>Answers a chat, piece by piece.</summary>
    /// <exception cref="FineTuneException">The model has no chat template, or the chat does not fit the context.</exception>
    public IEnumerable<string> Chat(IEnumerable<ChatMessage> messages, SamplingOptions? options = null, CancellationToken cancellation = default) =>
        Stream(Render(messages), options ?? new SamplingOptions(), cancellation);

    /// <summary>The same as an asynchronous sequence; the work runs on the thread pool.</summary>
    public async IAsyncEnumerable<string> ChatAsync(
        IEnumerable<ChatMessage> messages, SamplingOptions? options = null, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using IEnumerator<string> pieces = Chat(messages, options, cancellation).GetEnumerator();
        while (await Task.Run(pieces.MoveNext, cancellation).ConfigureAwait(false)) yield return pieces.Current;
    }

    internal int[] Render(IEnumerable<ChatMessage> messages)
    {
        if (Template is null) throw ModelFiles.NoTemplate(Reference.Base);
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartArray();
            foreach (ChatMessage message in messages)
            {
                json.WriteStartObject();
                json.WriteString("role", message.Role);
                json.WriteString("content", message.Content);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        using JsonDocument document = JsonDocument.Parse(buffer.ToArray());
        // The template writes the BOS itself where the model wants one, as in training.
        string text = Template.Render(new ChatRequest { Messages = document.RootElement, AddGenerationPrompt = true }).Text;
        return [.. Tokenizer.Encode(text, addSpecialTokens: false).Ids];
    }

    /// <summary>The token ids of a continuation, without the end token.</summary>
    internal IEnumerable<int> GenerateIds(int[] prompt, SamplingOptions options, CancellationToken cancellation = default)
    {
        options.Check();
        if (prompt.Length == 0) throw FineTuneException.Usage("the prompt has no tokens, expected at least one (the tokenizer adds no BOS).");
        int capacity = Math.Min(ContextLength, prompt.Length + options.MaxTokens);
        if (prompt.Length >= ContextLength)
            throw FineTuneException.Usage($"the prompt has {prompt.Length} tokens, but the model's context is {ContextLength} with the answer; shorten the prompt.");
        Decoder decoder = DecoderFor(capacity);
        var sampler = new Sampler(options, Weights.Config.VocabSize);
        foreach (int id in prompt) sampler.Saw(id);
        using var cache = new KeyValueCache(Weights, capacity, decoder.MaxRows);
        var logits = new float[Weights.Config.VocabSize];
        for (int at = 0; at < prompt.Length; at += decoder.MaxRows)
            decoder.ForwardCached(cache, prompt.AsSpan(at, Math.Min(decoder.MaxRows, prompt.Length - at)), logits);
        for (int made = 0; made < options.MaxTokens; made++)
        {
            cancellation.ThrowIfCancellationRequested();
            int next = sampler.Next(logits);
            if (_endIds.Contains(next)) yield break;
            yield return next;
            if (cache.Length >= capacity) yield break;
            decoder.ForwardCached(cache, [next], logits);
        }
    }

    /// <summary>A decoder with RoPE tables for at least so many positions; they grow by doubling, up to the context.</summary>
    private Decoder DecoderFor(int positions)
    {
        if (_decoder is not null && positions <= _positions) return _decoder;
        _decoder?.Dispose();
        _positions = (int)Math.Min(ContextLength, Math.Max(1024, System.Numerics.BitOperations.RoundUpToPowerOf2((uint)positions)));
        return _decoder = new Decoder(Weights, BufferMode.Inference, Math.Min(PrefillRows, ContextLength), _positions);
    }

    private IEnumerable<string> Stream(int[] prompt, SamplingOptions options, CancellationToken cancellation)
    {
        StreamingDecoder decoder = Tokenizer.CreateStreamingDecoder();
        var stop = new StopWatcher(options.Stop);
        foreach (int id in GenerateIds(prompt, options, cancellation))
        {
            string piece = stop.Add(decoder.Add(id));
            if (piece.Length > 0) yield return piece;
            if (stop.Stopped) yield break;
        }

        string rest = stop.Add(decoder.Flush()) + stop.Flush();
        if (rest.Length > 0) yield return rest;
    }

    private static HashSet<int> EndIds(string generationConfig, ModelConfig config, Tokenizer? tokenizer)
    {
        var ids = new HashSet<int>(config.EosTokenIds);
        if (tokenizer?.EosId is { } eos) ids.Add(eos);
        if (!File.Exists(generationConfig)) return ids;
        try
        {
            using JsonDocument document = StrictJson.Parse(File.ReadAllBytes(generationConfig));
            foreach (int id in new ConfigReader(document.RootElement, generationConfig).Ints("eos_token_id")) ids.Add(id);
            return ids;
        }
        catch (JsonException e)
        {
            throw FineTuneException.Failed($"{generationConfig} is not valid JSON ({e.Message}); download it again, or delete it: only its eos_token_id is read.", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _decoder?.Dispose();
        Weights.Dispose();
        _backend.Dispose();
    }
}
