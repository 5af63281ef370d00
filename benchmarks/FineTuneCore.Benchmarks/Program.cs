using FineTuneCore;
using FineTuneCore.Benchmarks;
using FineTuneCore.Benchmarks.Comparison;
using FineTuneCore.Benchmarks.Comparison.Kernels;
using FineTuneCore.Benchmarks.Measuring;
using FineTuneCore.Benchmarks.Ops;
using FineTuneCore.Benchmarks.Scale;
using FineTuneCore.Native;

const int Refused = 4; // by the library: what is asked for is not there on this CPU or not yet
string checkpoints = Path.Combine("artifacts", "bench");
string verb = args.FirstOrDefault() ?? "";
try
{
    switch (verb)
    {
        case "cpu":
            return CpuCommand.Run(new Arguments(args.Skip(1)));
        case "scale":
            return ScaleCommand.Run(new Arguments(args.Skip(1)));
        case "load":
            LoadCommand.Run(new Arguments(args.Skip(1)));
            return 0;
        case "step" or "matmul" or "nf4":
            var arguments = new Arguments(args.Skip(1));
            int threads = arguments.Number("threads", 1);
            if (verb == "step") StepCommand.Run(arguments, threads, checkpoints);
            else if (verb == "matmul") MatmulCommand.Run(arguments, threads);
            else Nf4Command.Run(arguments, threads);
            return 0;
        case "ops":
            return KernelsCommand.Run(new Arguments(args.Skip(1)));
        case "side":
            SideCommand.Run(new Arguments(args.Skip(1)));
            return 0;
        case "binding":
            return BindingCommand.Run();
        case "spin":
            SpinCommand.Run();
            return 0;
        default:
            Console.Error.WriteLine("usage: FineTuneCore.Benchmarks cpu [--rows step,busy,qlora,nf4,matmul] [--pairs N] [--allow-load]\n       FineTuneCore.Benchmarks scale [--rows model,load,context,dataset] [--allow-load]\n       FineTuneCore.Benchmarks step [--threads N] [--precision fp32|bf16] [--method lora|qlora] [--steps S] [--warmup W]\n       FineTuneCore.Benchmarks ops [--filter PATTERN ...] [--sides NAME ...] [--check] [--list] [--ocl-prefix FOLDER] [--allow-load]\n       FineTuneCore.Benchmarks binding\n       FineTuneCore.Benchmarks matmul|nf4 [--threads N] [--row-ms MS]");
            return 2;
    }
}
catch (ArgumentException e)
{
    Console.Error.WriteLine($"FineTuneCore.Benchmarks {verb}: {e.Message}");
    return 2;
}
catch (Exception e) when (e is FineTuneException or FtcException)
{
    Console.WriteLine($"refused: {e.Message}");
    return Refused;
}
