using FineTuneCore.Kernels;

const int N = 96, K = 64;
if (Environment.Version.Major != 8) throw new InvalidOperationException($"this is .NET {Environment.Version}, expected 8");
using Device device = Device.OpenCpu();
using DeviceStream stream = device.CreateStream();
using var workspace = new Workspace(stream);
float[] weight = [.. Enumerable.Range(0, N * K).Select(i => MathF.Sin(i))], x = [.. Enumerable.Range(0, K).Select(i => MathF.Cos(i))];
float[] y = new float[N], dequantised = new float[N * K], absmax = new float[N * K / 64];
byte[] codes = new byte[N * K / 2];
Nf4.Quantize(stream, codes, absmax, weight);
Linear.Forward(stream, y, x, LinearWeight.Nf4(codes, absmax, N, K), workspace);
Linear.Dequantize(stream, TensorView.Of(dequantised, N, K), LinearWeight.Nf4(codes, absmax, N, K));

double error = Enumerable.Range(0, N).Max(n => Math.Abs(y[n] - Enumerable.Range(0, K).Sum(k => (double)dequantised[n * K + k] * x[k])));
double rounding = Enumerable.Range(0, N * K).Max(i => Math.Abs(dequantised[i] - weight[i]));
Console.WriteLine($".NET {Environment.Version}, {device.InstructionSet}: NF4 is within {rounding:F3} of the weight, the product within {error:E1} of its sum in double");
return error < 1e-4 && rounding < 0.16 ? 0 : 1; // half of the widest gap between two codes is 0.152
