using System.CommandLine;
using FineTuneCore.Backends;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc tune</c>: measures a GPU again.</summary>
internal static class TuneCommand
{
    public static Command Create()
    {
        var command = new Command("tune", "Measures up to how many rows a GPU multiplies NF4 weights packed. The first QLoRA run on a GPU does so by itself; this does it again.");
        var device = new DeviceOptions();
        device.AddTo(command, precision: false);
        command.SetAction(result =>
        {
            Device opened = Device.Open(device.Device(result), "auto", device.Threads(result));
            using IBackend backend = opened.Backend;
            if (opened.Tune(again: true) is not { } rows)
            {
                Console.Out.WriteLine($"{opened.Name} has nothing to measure: it always multiplies NF4 weights packed");
                return ExitCodes.Ok;
            }

            Console.Out.WriteLine($"{opened.Name} {backend.Info.Name}: NF4 weights are multiplied packed up to {rows} rows, and dequantised first above that");
            Console.Out.WriteLine($"kept in {TuneCache.File}");
            return ExitCodes.Ok;
        });
        return command;
    }
}
