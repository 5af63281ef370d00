using System.Diagnostics;
using System.Text.Json.Nodes;
using FineTuneCore.Benchmarks.Comparison;

namespace FineTuneCore.Benchmarks.Scale;

/// <summary>
/// FineTuneCore.Benchmarks scale [--rows model,load,context,dataset] [--allow-load]: a model of half a billion weights and what loading it takes, contexts of 256 to 16,384 tokens, datasets of 1, 10
/// and 100 times the rows. Each row is a run of <c>ftc train</c>.
/// </summary>
internal static class ScaleCommand
{
    private const int Attempts = 3;
    private static readonly string[] Parts = ["model", "load", "context", "dataset"];
    private static readonly string Root = Path.Combine("artifacts", "bench");

    internal static int Run(Arguments arguments)
    {
        string[] parts = arguments.Text("rows", string.Join(',', Parts)).Split(',');
        if (parts.Except(Parts).FirstOrDefault() is { } unknown) throw new ArgumentException($"--rows names '{unknown}', expected some of {string.Join(',', Parts)}");
        var session = new Session { PairCount = 1, AllowLoad = arguments.Has("allow-load"), Command = $"./build.sh bench scale{(parts.Length == Parts.Length ? "" : $" --rows {string.Join(',', parts)}")}" };
        arguments.RefuseOthers();
        Directory.CreateDirectory(Root);
        bool complete = true;
        foreach (string part in parts)
        {
            var table = new Table($"scale-{part}");
            switch (part)
            {
                case "model":
                    Model(session, table);
                    break;
                case "load":
                    Load(session, table);
                    break;
                case "context":
                    Context(session, table);
                    break;
                default:
                    Dataset(session, table);
                    break;
            }

            table.Save(session);
            complete &= table.NoResult.Count == 0;
        }

        return complete ? 0 : CpuCommand.NoResult;
    }

    /// <summary>Half a billion weights at 512 tokens: QLoRA on one thread and two, in fp32 and bf16, over whole epochs.</summary>
    private static void Model(Session session, Table table)
    {
        string model = RandomModel.Directory(Root, "qwen2.5-0.5b-random", RandomModel.Qwen05B);
        string data = Rows(4, 512);
        foreach ((string method, string precision, int threads) in ((string, string, int)[])[("qlora", "fp32", 1), ("qlora", "fp32", 2), ("qlora", "bf16", 2)])
        {
            table.Add(session, $"0.5B {method} {precision}, {StepTable.Threads(threads)}", () =>
            {
                // Three epochs: what grows with steps or epochs is seen.
                TrainRun run = Quiet(session, () => TrainRun.Start(model, data, $"--method {method} --precision {precision} --threads {threads} --sequence-length 512 --micro-batch-size 1 --max-steps 12 --epochs 3 --packing false --eval-every 1000"));
                return new JsonObject
                {
                    ["model"] = "Qwen2.5-0.5B shape", ["method"] = method, ["precision"] = precision, ["threads"] = threads, ["sequence_length"] = 512, ["tokens_per_step"] = 512,
                    ["steps"] = run.Rates.Count, ["tokens_per_s"] = run.TokensPerSecond, ["peak_mb"] = Math.Round(run.PeakMegabytes, 1),
                    ["resident_after_step_2_mb"] = Math.Round(run.Resident[1], 1), ["resident_after_last_step_mb"] = Math.Round(run.Resident[^1], 1), ["seconds_to_plan"] = Math.Round(run.SecondsToPlan, 2),
                };
            });
        }
    }

    /// <summary>What is resident beside the weights while a checkpoint of a GB is loaded as it is stored, and quantised.</summary>
    private static void Load(Session session, Table table)
    {
        string model = RandomModel.Directory(Root, "qwen2.5-0.5b-random", RandomModel.Qwen05B);
        foreach (string format in (string[])["stored", "nf4"])
        {
            table.Add(session, $"load {format}", () =>
            {
                var start = new ProcessStartInfo("dotnet", $"\"{typeof(ScaleCommand).Assembly.Location}\" load --model \"{model}\" --format {format}") { RedirectStandardOutput = true };
                using Process process = Process.Start(start)!;
                JsonObject line = JsonNode.Parse(process.StandardOutput.ReadToEnd())!.AsObject();
                line.Remove("event");
                line["checkpoint_mb"] = Math.Round(new FileInfo(Path.Combine(model, "model.safetensors")).Length / 1e6, 1);
                return line;
            });
        }
    }

    /// <summary>One row of so many tokens a step: time of all but attention is linear in tokens.</summary>
    private static void Context(Session session, Table table)
    {
        string model = RandomModel.Directory(Root, "small-random", RandomModel.Small);
        foreach (int context in (int[])[256, 1024, 4096, 16384])
        {
            string data = Rows(6, context);
            table.Add(session, $"context {context}", () =>
            {
                TrainRun run = Quiet(session, () => TrainRun.Start(model, data, $"--threads 1 --sequence-length {context} --micro-batch-size 1 --max-steps {(context > 4096 ? 3 : 6)} --epochs 10 --packing false --eval-every 1000 --profile"));
                JsonObject profile = run.Profile!;
                double seconds = (double)profile["seconds"]!, attention = profile["ops"]!.AsArray().Where(o => ((string)o!["op"]!).StartsWith("attention", StringComparison.Ordinal)).Sum(o => (double)o!["seconds"]!);
                int steps = run.Rates.Count - 1;
                return new JsonObject
                {
                    ["context"] = context, ["tokens_per_s"] = Math.Round(context * steps / seconds, 1), ["attention_share"] = Math.Round(attention / seconds, 4),
                    ["tokens_per_s_without_attention"] = Math.Round(context * steps / (seconds - attention), 1), ["peak_mb"] = Math.Round(run.PeakMegabytes, 1),
                };
            });
        }
    }

    /// <summary>1, 10 and 100 times the rows, as many steps: speed and memory stay.</summary>
    private static void Dataset(Session session, Table table)
    {
        string model = RandomModel.Directory(Root, "small-random", RandomModel.Small);
        foreach (int rows in (int[])[640, 6400, 64000])
        {
            string data = Rows(rows, 256);
            table.Add(session, $"{rows} rows", () =>
            {
                TrainRun run = Quiet(session, () => TrainRun.Start(model, data, "--threads 1 --sequence-length 256 --micro-batch-size 4 --max-steps 12 --eval-every 1000"));
                return new JsonObject
                {
                    ["rows"] = rows, ["dataset_mb"] = Math.Round(new FileInfo(data).Length / 1e6, 1), ["tokens_per_s"] = run.TokensPerSecond,
                    ["peak_mb"] = Math.Round(run.PeakMegabytes, 1), ["seconds_to_plan"] = Math.Round(run.SecondsToPlan, 2),
                };
            });
        }
    }

    /// <summary>Runs until nobody else used the machine meanwhile.</summary>
    private static TrainRun Quiet(Session session, Func<TrainRun> start)
    {
        for (int attempt = 1; ; attempt++)
        {
            // What the child used is not this process' own: it is subtracted as a neighbour would be, from the children's clock.
            double children = ProcessorTimes.OfEndedChildren();
            var meter = new LoadMeter();
            TrainRun run = start();
            LoadMeter.Interval interval = meter.Look();
            double others = interval.OtherCores - (ProcessorTimes.OfEndedChildren() - children) / interval.Seconds;
            session.Report($"{run.TokensPerSecond:F1} tokens/s, peak {run.PeakMegabytes:F0} MB; others {others:F2} cores");
            if (session.AllowLoad || others <= StrictPairs.MostOtherCores) return run;
            if (attempt == Attempts) throw new NoResultException($"no result: others used {others:F2} cores in the last of {Attempts} attempts");
        }
    }

    /// <summary>A file of so many text rows, each longer than so many tokens.</summary>
    private static string Rows(int rows, int tokens)
    {
        string file = Path.Combine(Root, $"rows-{rows}-{tokens}.jsonl");
        if (File.Exists(file)) return file;
        string[] words = "the a dog cat house tree runs sees big small red blue and then park ball happy went to".Split(' ');
        var random = new SplitMix64((ulong)(rows + tokens));
        using var writer = new StreamWriter(file);
        for (int r = 0; r < rows; r++)
        {
            writer.Write("{\"text\": \"");
            for (int i = 0; i < tokens; i++)
            {
                if (i > 0) writer.Write(' ');
                writer.Write(words[random.Next() % (ulong)words.Length]);
            }

            writer.Write("\"}\n");
        }

        return file;
    }
}
