using System.CommandLine;
using FineTuneCore.Export;

namespace FineTuneCore.Cli.Commands;

/// <summary><c>ftc quantize</c>: writes a model in 4-bit NormalFloat.</summary>
internal static class QuantizeCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Model directory.", HelpName = "DIR", Required = true };
        var output = new Option<string>("--output") { Description = "The new model directory.", HelpName = "DIR", Required = true };
        var device = new DeviceOptions();
        var command = new Command("quantize", "Writes the linear layers as bitsandbytes NF4 with double quantisation; embedding, head and norms stay as they are.")
        {
            model, output,
        };
        device.AddTo(command, precision: false);
        command.SetAction(result =>
        {
            QuantizeReport report = ModelQuantizer.Quantize(result.GetRequiredValue(model), result.GetRequiredValue(output), device.Threads(result), device.Device(result));
            Console.Out.WriteLine(
                $"quantised {report.Layers} linear layers, {report.Weights:N0} weights in {report.Bytes:N0} bytes ({8.0 * report.Bytes / report.Weights:F3} bits a weight)");
            Console.Out.WriteLine($"kept wide: {report.WideWeights:N0} weights (embedding, head, norms, biases)");
            Console.Out.WriteLine($"root mean square error of a quantised weight: {report.RelativeError:P2} of the weights' own");
            Console.Out.WriteLine($"saved in {report.Output}");
            return ExitCodes.Ok;
        });
        return command;
    }
}
