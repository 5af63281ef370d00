using System.CommandLine;
using System.Text.Json;
using FineTuneCore.Generation;
using FineTuneCore.Models;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc inspect logits</c>: token ids in, loss, loss per token and the last position's logits out.</summary>
internal static class InspectLogits
{
    public static Command Create()
    {
        var command = new Command("logits", "Scores token ids: mean next-token loss, loss per token, logits of the last position.");
        var model = new ModelOptions();
        Option<FileInfo> jsonl = InspectCommand.JsonlOption("""{"ids": […]}""");
        model.AddTo(command, chatTemplate: false);
        command.Options.Add(jsonl);
        command.SetAction(result =>
        {
            using LanguageModel loaded = model.Load(result);
            using Stream output = Console.OpenStandardOutput();
            using var scorer = new Scorer(loaded);
            return JsonLines.Answer(result.GetRequiredValue(jsonl), output, scorer.Answer);
        });
        return command;
    }

    private sealed class Scorer(LanguageModel model) : IDisposable
    {
        private readonly float[] _logits = new float[model.Weights.Config.VocabSize];
        private Decoder? _decoder;

        internal void Answer(JsonElement request, Utf8JsonWriter writer)
        {
            int[] ids = Ids(request);
            Decoder decoder = DecoderFor(ids.Length);
            var nll = new float[ids.Length];
            decoder.Evaluate(
                new TokenBatch
                {
                    Rows = ids.Length,
                    Ids = ids,
                    Positions = Enumerable.Range(0, ids.Length).ToArray(),
                    Targets = ids.Skip(1).Append(-100).ToArray(),
                    SegmentStarts = new int[ids.Length],
                },
                nll);
            decoder.LogitsOf(ids.Length - 1, _logits);
            if (ids.Length > 1) writer.WriteNumber("loss", nll[..^1].Sum(x => (double)x) / (ids.Length - 1));
            else writer.WriteNull("loss");
            writer.WriteStartArray("nll");
            foreach (float x in nll[..^1]) writer.WriteNumberValue(x);
            writer.WriteEndArray();
            writer.WriteStartArray("last_logits");
            foreach (float x in _logits) writer.WriteNumberValue(x);
            writer.WriteEndArray();
        }

        private int[] Ids(JsonElement request)
        {
            if (!request.TryGetProperty("ids", out JsonElement list) || list.ValueKind != JsonValueKind.Array || list.GetArrayLength() == 0)
                throw new FormatException("the request has no \"ids\", expected a list of at least one token id");
            int vocabulary = model.Weights.Config.VocabSize, context = model.ContextLength;
            int[] ids = [.. list.EnumerateArray().Select(e => e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int id) && id >= 0 && id < vocabulary
                ? id : throw new FormatException($"{e.GetRawText()} is not a token id, expected a whole number from 0 to {vocabulary - 1}"))];
            return ids.Length <= context ? ids : throw new FormatException($"{ids.Length} ids exceed the model's context of {context}");
        }

        /// <summary>Memory grows to the longest request seen, by doubling.</summary>
        private Decoder DecoderFor(int rows)
        {
            if (_decoder?.MaxRows >= rows) return _decoder;
            _decoder?.Dispose();
            int planned = Math.Min(model.ContextLength, Math.Max(256, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)rows)));
            return _decoder = new Decoder(model.Weights, BufferMode.Inference, planned, planned);
        }

        public void Dispose() => _decoder?.Dispose();
    }
}
