using FineTuneCore;
using FineTuneCore.Benchmarks;
using FineTuneCore.Benchmarks.Comparison;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Benchmarks.Scale;
using FineTuneCore.Native;

const int Refused = 4; // by the library: what is asked for is not there on this CPU or not yet
string checkpoints = Path.Combine("artifacts", "bench");
string verb = args.FirstOrDefault() ?? "";
try
{
    switch (verb)
    {
        case "step":
            var arguments = new Arguments(args.Skip(1));
            StepCommand.Run(arguments, arguments.Number("threads", 1), checkpoints);
            return 0;
        case "cpu":
            return CpuCommand.Run(new Arguments(args.Skip(1)));
        case "scale":
            return ScaleCommand.Run(new Arguments(args.Skip(1)));
        case "load":
            LoadCommand.Run(new Arguments(args.Skip(1)));
            return 0;
        default:
            Console.Error.WriteLine("usage: ftc-bench cpu [--rows step] [--pairs N] [--allow-load]\n       ftc-bench step [--threads N] [--precision fp32|bf16] [--method lora|qlora] [--steps S] [--warmup W]");
            return 2;
    }
}
catch (ArgumentException e)
{
    Console.Error.WriteLine($"ftc-bench {verb}: {e.Message}");
    return 2;
}
catch (Exception e) when (e is FineTuneException or FtcException)
{
    Console.WriteLine($"refused: {e.Message}");
    return Refused;
}
