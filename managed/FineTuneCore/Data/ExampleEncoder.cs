using System.Text.Json;
using FineTuneCore.Tokenization;

namespace FineTuneCore.Data;

/// <summary>
/// Makes token ids and loss mask of examples. Of a conversation the assistant's turns are trained, of prompt and completion the completion,
/// of a text all of it; completions and texts end with the model's end token, which is trained too.
/// A chat template writes the BOS token itself or leaves it out, as in transformers; other texts get what the tokenizer adds.
/// </summary>
internal sealed class ExampleEncoder
{
    private readonly Tokenizer _tokenizer;
    private readonly ChatTemplate? _template;
    private readonly EncoderOptions _options;
    private readonly AssistantSpans? _spans;
    private readonly DateTimeOffset _now;
    private readonly bool _knowsDeveloper;

    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="template">The chat template; null where the model has none, which is an error once a conversation comes.</param>
    /// <param name="options">Context length and policies.</param>
    public ExampleEncoder(Tokenizer tokenizer, ChatTemplate? template, EncoderOptions options)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.ContextLength, 2);
        (_tokenizer, _template, _options) = (tokenizer, template, options);
        _now = options.Now ?? DateTimeOffset.Now;
        _knowsDeveloper = template?.Source.Contains("developer", StringComparison.Ordinal) ?? false;
        _spans = template is null ? null : new AssistantSpans(template, tokenizer.SpecialTexts);
    }

    /// <summary>What was done with the examples so far.</summary>
    public EncodingReport Report { get; } = new();

    /// <summary>The samples of one example: usually one; none where it was dropped; several for a long plain text.</summary>
    /// <exception cref="DataException">The example cannot be trained on; the message names its file and line.</exception>
    public IReadOnlyList<TokenizedExample> Encode(Example example)
    {
        ArgumentNullException.ThrowIfNull(example);
        Report.Count(example.Format);
        if (example is TextExample { Format: ExampleFormat.PlainText } plain)
            return Counted(Pieces(plain));
        TokenizedExample sample = example switch
        {
            ChatExample chat => EncodeChat(chat),
            CompletionExample completion => EncodeCompletion(completion),
            TextExample text => EncodeText(text),
            _ => throw new ArgumentException($"{example.GetType().Name} is no kind of example that can be encoded", nameof(example)),
        };
        if (sample.TrainedTokens == 0)
            throw new DataException($"{sample.Source}: no token of the sample is trained, so there is nothing to learn; check its answer and the chat template");
        return Fit(sample) is { } fitting ? Counted([fitting]) : [];
    }

    private TokenizedExample EncodeChat(ChatExample chat)
    {
        if (_template is null || _spans is null)
            throw new DataException(
                $"{chat.Source}: the row is a conversation and the model has no chat template; choose one with --chat-template NAME|FILE "
                + $"(that come along: {string.Join(", ", ChatTemplate.BundledNames)})");
        ChatRequest request = Request(chat);
        try
        {
            RenderedChat rendered = _template.Render(request);
            List<AssistantSpan> spans = _spans.Find(request, rendered);
            TokenEncoding encoding = _tokenizer.Encode(rendered.Text, addSpecialTokens: false);
            byte[] mask = TurnMask.Create(_tokenizer, encoding, rendered.Text, spans, message => chat.Trained[message], _options.TrainOnEos);
            return new TokenizedExample([.. encoding.Ids], mask, chat.Source);
        }
        catch (ChatTemplateException e)
        {
            throw new DataException($"{chat.Source}: {e.Message}", e);
        }
    }

    private ChatRequest Request(ChatExample chat) => new()
    {
        Messages = JsonValues.Array(chat.Messages.Select(WithKnownRole)),
        // transformers passes None where there are none.
        Tools = chat.Tools ?? JsonValues.Null,
        Variables = new Dictionary<string, JsonElement> { ["documents"] = JsonValues.Null },
        Now = _now,
    };

    private JsonElement WithKnownRole(JsonElement message)
    {
        if (_knowsDeveloper || message.GetProperty("role").GetString() != "developer")
            return message;
        Report.DeveloperAsSystem++;
        return JsonValues.Build(writer =>
        {
            writer.WriteStartObject();
            foreach (JsonProperty member in message.EnumerateObject())
            {
                if (member.Name == "role")
                    writer.WriteString("role", "system");
                else
                    member.WriteTo(writer);
            }
            writer.WriteEndObject();
        });
    }

    private TokenizedExample EncodeCompletion(CompletionExample example)
    {
        TokenEncoding encoding = EncodePlain(example.Prompt + example.Completion);
        List<int> ids = [.. encoding.Ids];
        List<byte> mask = [.. encoding.Offsets.Select(range => range.End > range.Start && range.Start >= example.Prompt.Length ? (byte)1 : (byte)0)];
        return Ended(ids, mask, example.Source);
    }

    private TokenizedExample EncodeText(TextExample example)
    {
        TokenEncoding encoding = EncodePlain(example.Text);
        return Ended([.. encoding.Ids], [.. encoding.Offsets.Select(range => range.End > range.Start ? (byte)1 : (byte)0)], example.Source);
    }

    // A text that already begins with the BOS token gets no second one.
    private TokenEncoding EncodePlain(string text) => _tokenizer.Encode(
        text, addSpecialTokens: !(_tokenizer.AddsBos && text.StartsWith(_tokenizer.BosToken!, StringComparison.Ordinal)));

    private TokenizedExample Ended(List<int> ids, List<byte> mask, SourceLocation source)
    {
        bool train = _options.TrainOnEos != TrainOnEos.None;
        if (_tokenizer.EosId is { } eos)
        {
            if (ids.Count == 0 || ids[^1] != eos)
            {
                ids.Add(eos);
                mask.Add(0);
            }
            mask[^1] = train ? (byte)1 : (byte)0;
        }
        if (mask.Count > 0)
            mask[0] = 0;
        return new TokenizedExample([.. ids], [.. mask], source);
    }

    // A plain text is cut into pieces of the context length, each begun as the model expects texts to begin.
    private List<TokenizedExample> Pieces(TextExample example)
    {
        TokenizedExample whole = EncodeText(example);
        int[] start = _tokenizer.AddsBos ? [_tokenizer.BosId!.Value] : [];
        ReadOnlySpan<int> ids = whole.Ids.AsSpan(start.Length);
        var pieces = new List<TokenizedExample>();
        int size = _options.ContextLength - start.Length;
        for (int at = 0; at < ids.Length; at += size)
        {
            ReadOnlySpan<int> part = ids.Slice(at, Math.Min(size, ids.Length - at));
            int[] piece = [.. start, .. part];
            if (piece.Length < 2)
                break; // One token alone has no target.
            var mask = new byte[piece.Length];
            Array.Fill(mask, (byte)1, Math.Max(1, start.Length), piece.Length - Math.Max(1, start.Length));
            pieces.Add(new TokenizedExample(piece, mask, example.Source));
        }
        return pieces;
    }

    private TokenizedExample? Fit(TokenizedExample sample)
    {
        int limit = _options.ContextLength;
        if (sample.Ids.Length <= limit)
            return sample;
        if (_options.Overflow == OverflowPolicy.Error)
            throw new DataException(
                $"{sample.Source}: the sample has {sample.Ids.Length} tokens, the sequence length is {limit}; raise --sequence-length if the model allows it, "
                + "shorten the sample, or choose --overflow truncate (cut its end off) or --overflow drop (leave it out)");
        if (_options.Overflow == OverflowPolicy.Drop)
        {
            Report.Dropped++;
            return null;
        }
        var cut = new TokenizedExample(sample.Ids[..limit], sample.LossMask[..limit], sample.Source);
        if (cut.TrainedTokens == 0)
        {
            // Everything that would have been learned lies beyond the cut.
            Report.Dropped++;
            return null;
        }
        Report.Truncated++;
        return cut;
    }

    private IReadOnlyList<TokenizedExample> Counted(IReadOnlyList<TokenizedExample> samples)
    {
        foreach (TokenizedExample sample in samples)
            Report.Count(sample);
        return samples;
    }
}
