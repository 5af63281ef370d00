using System.CommandLine;
using FineTuneCore.Backends;

namespace FineTuneCore.Cli.Commands;

/// <summary>The options with which a command is told where to compute, and how.</summary>
internal sealed class DeviceOptions
{
    private readonly Option<string> _device = new("--device")
    {
        Description = "auto, cpu, cuda, cuda:N, or opencl, opencl:N for other makers' GPUs; auto takes the first NVIDIA GPU where one can be used [auto].", HelpName = "DEVICE", DefaultValueFactory = _ => "auto",
    };

    private readonly Option<string> _precision = new("--precision")
    {
        Description = "auto, fp32 or bf16; auto is bf16 on CUDA, fp32 through OpenCL and on the CPU, where bf16 halves activations and is faster with AVX512-BF16 [auto].", HelpName = "TYPE", DefaultValueFactory = _ => "auto",
    };

    private readonly Option<int?> _threads = new("--threads") { Description = "CPU threads [all this process may use].", HelpName = "N" };

    internal DeviceOptions()
    {
        _device.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is { } text && DeviceName.TryParse(text) is null)
                result.AddError($"--device is '{text}', expected {DeviceName.Expected}");
        });
        _threads.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() is < 1) result.AddError("--threads expects 1 or more");
        });
        _precision.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is { } text && !Backends.Device.IsPrecision(text))
                result.AddError($"--precision is '{text}', expected {Backends.Device.PrecisionsExpected}");
        });
    }

    /// <summary>Adds them; a command that works in fp32 whatever the device has no --precision.</summary>
    internal void AddTo(Command command, bool precision = true)
    {
        command.Options.Add(_device);
        if (precision) command.Options.Add(_precision);
        command.Options.Add(_threads);
    }

    internal string Device(ParseResult result) => result.GetValue(_device)!;

    internal string Precision(ParseResult result) => result.GetValue(_precision)!;

    internal int Threads(ParseResult result) => result.GetValue(_threads) ?? 0;
}
