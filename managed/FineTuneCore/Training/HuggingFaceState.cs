using System.Text.Json;

namespace FineTuneCore.Training;

/// <summary>trainer_state.json as Hugging Face's Trainer writes it, so that its tools can plot a run.</summary>
internal static class HuggingFaceState
{
    internal static byte[] Write(IReadOnlyList<MetricsReader.Row> rows, TrainerState state, int totalSteps, int stepsPerEpoch, FineTuneOptions options)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            if (state.BestLoss is { } best) json.WriteNumber("best_metric", best);
            else json.WriteNull("best_metric");
            json.WriteNumber("best_global_step", state.BestStep);
            json.WriteNull("best_model_checkpoint");
            json.WriteNumber("epoch", (double)state.Step / stepsPerEpoch);
            json.WriteNumber("global_step", state.Step);
            json.WriteNumber("max_steps", totalSteps);
            json.WriteNumber("num_train_epochs", options.Epochs);
            json.WriteNumber("num_input_tokens_seen", state.TrainedTokens);
            json.WriteNumber("train_batch_size", options.MicroBatchSize);
            json.WriteNumber("eval_steps", options.EvalEvery ?? 0);
            json.WriteNumber("save_steps", options.CheckpointEvery ?? 0);
            json.WriteNumber("logging_steps", 1);
            json.WriteBoolean("is_hyper_param_search", false);
            json.WriteBoolean("is_local_process_zero", true);
            json.WriteBoolean("is_world_process_zero", true);
            json.WriteStartArray("log_history");
            foreach (MetricsReader.Row row in rows.Where(r => r.Step <= state.Step)) WriteRow(json, row, stepsPerEpoch);
            json.WriteEndArray();
            json.WriteNull("trial_name");
            json.WriteNull("trial_params");
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    private static void WriteRow(Utf8JsonWriter json, MetricsReader.Row row, int stepsPerEpoch)
    {
        json.WriteStartObject();
        json.WriteNumber("epoch", (double)row.Step / stepsPerEpoch);
        json.WriteNumber("step", row.Step);
        if (row.Loss is { } loss) json.WriteNumber("loss", loss);
        if (row.GradientNorm is { } norm) json.WriteNumber("grad_norm", norm);
        if (row.LearningRate is { } rate) json.WriteNumber("learning_rate", rate);
        if (row.EvalLoss is { } evalLoss) json.WriteNumber("eval_loss", evalLoss);
        json.WriteEndObject();
    }
}
