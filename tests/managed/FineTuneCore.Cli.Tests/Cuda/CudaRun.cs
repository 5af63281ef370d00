using System.Globalization;
using System.Text.Json;
using FineTuneCore.Tests;
using FluentAssertions;

namespace FineTuneCore.Cli.Tests.Cuda;

/// <summary>Short runs of ftc train on the reference model, on the CPU and on CUDA: sequences of a few tokens, since the simulator is slow.</summary>
internal sealed class CudaRun : IDisposable
{
    private readonly TemporaryDirectory _temporary = new();

    internal CudaRun()
    {
        Model = TestData.Path("models", "stories260K");
        Data = _temporary.Write("data.jsonl", string.Concat(Enumerable.Range(0, 6).Select(i =>
            $"{{\"prompt\": \"Tim saw dog {i}\", \"completion\": \" in the park.\"}}\n")));
    }

    internal string Model { get; }

    internal string Data { get; }

    internal string Place(string name) => _temporary.File(name);

    /// <summary>Trains on CUDA.</summary>
    internal FtcProcess.Result Cuda(string name, string precision, params string[] more) => Cuda(name, precision, [], more);

    /// <summary>The same in an environment of its own.</summary>
    internal FtcProcess.Result Cuda(string name, string precision, (string Name, string Value)[] environment, params string[] more) =>
        CudaLibrary.Run(Arguments(name, [.. more, "--device", "cuda:0", "--precision", precision]), environment);

    /// <summary>Trains on the CPU.</summary>
    internal FtcProcess.Result Cpu(string name, params string[] more) => FtcProcess.Run([.. Arguments(name, [.. more, "--device", "cpu"])]);

    /// <summary>The losses that a run logged: (training or validation, step) → loss.</summary>
    internal (string What, double Loss)[] Losses(string name) =>
    [
        .. File.ReadLines(Place($"{name}/metrics.jsonl")).Select(line => JsonDocument.Parse(line).RootElement).Select(e =>
        {
            bool trained = e.TryGetProperty("loss", out JsonElement loss);
            return ($"{(trained ? "training" : "validation")} {e.GetProperty("step").GetInt32()}", (trained ? loss : e.GetProperty("eval_loss")).GetDouble());
        }),
    ];

    /// <summary>Both runs did the same steps, with losses at most so far apart.</summary>
    internal void LossesAgree(string name, string reference, double absolute, double relative)
    {
        (string What, double Loss)[] actual = Losses(name), expected = Losses(reference);
        actual.Select(l => l.What).Should().Equal(expected.Select(l => l.What));
        for (int i = 0; i < actual.Length; i++)
        {
            actual[i].Loss.Should().BeApproximately(
                expected[i].Loss, absolute + relative * expected[i].Loss, "{0}: {1}", actual[i].What, string.Join(", ", actual.Select(l => l.Loss.ToString("R", CultureInfo.InvariantCulture))));
        }
    }

    /// <summary>Options given here replace the common ones.</summary>
    private string[] Arguments(string name, string[] more)
    {
        string[] common =
        [
            "--max-steps", "5", "--rank", "4", "--learning-rate", "5e-3", "--early-stopping", "0", "--validation-fraction", "0.2", "--eval-every", "5",
            "--checkpoint-every", "5", "--micro-batch-size", "2", "--packing", "false",
        ];
        return
        [
            "train", .. more.Contains("--model") ? (string[])[] : ["--model", Model], "--data", Data, "--output", Place(name), .. common.Chunk(2).Where(pair => !more.Contains(pair[0])).SelectMany(pair => pair),
            .. more,
        ];
    }

    public void Dispose() => _temporary.Dispose();
}
