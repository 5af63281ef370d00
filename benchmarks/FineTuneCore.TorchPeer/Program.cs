using FineTuneCore.Benchmarks;
using FineTuneCore.Benchmarks.TorchPeer;
using TorchSharp;

const int DoesNotLoad = 3;
string verb = args.FirstOrDefault() ?? "";
if (verb is not ("step" or "matmul" or "nf4" or "side"))
{
    Console.Error.WriteLine("usage: torch-peer step|matmul|nf4 [--threads N] [--precision fp32|bf16, matmul also both] [--steps S] [--warmup W]\n       torch-peer side [--check] [--log FILE]");
    return 2;
}

try
{
    var arguments = new Arguments(args.Skip(1));
    int threads = arguments.Number("threads", 1);
    if (LibraryLoading.Load() is { } reason)
    {
        Console.WriteLine($"skipped: TorchSharp does not load ({reason})");
        return DoesNotLoad;
    }

    torch.set_num_threads(threads);
    switch (verb)
    {
        case "step": StepCommand.Run(arguments, threads); break;
        case "side": SideCommand.Run(arguments); break;
        case "matmul": MatmulCommand.Run(arguments, threads); break;
        default: Nf4Command.Run(arguments, threads); break;
    }

    return 0;
}
catch (ArgumentException e)
{
    Console.Error.WriteLine($"torch-peer {verb}: {e.Message}");
    return 2;
}
