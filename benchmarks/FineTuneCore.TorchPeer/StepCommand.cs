using TorchSharp;
using static TorchSharp.torch;

namespace FineTuneCore.Benchmarks.TorchPeer;

/// <summary>The training step with autograd and the optimiser of TorchSharp.</summary>
internal static class StepCommand
{
    internal static void Run(Arguments arguments, int threads)
    {
        string precision = arguments.Text("precision", "fp32", "fp32", "bf16");
        int steps = arguments.Number("steps", 8), warmup = arguments.Number("warmup", 3), neighbour = arguments.Number("neighbour", 0, least: 0);
        arguments.RefuseOthers();
        LoraStep.CheckGenerator();
        ScalarType dtype = precision == "bf16" ? ScalarType.BFloat16 : ScalarType.Float32;
        using var model = new PeerModel(dtype);
        using var optimizer = optim.AdamW(
            model.parameters().Where(p => p.requires_grad), lr: LoraStep.LearningRate, beta1: LoraStep.Beta1, beta2: LoraStep.Beta2,
            eps: LoraStep.Epsilon, weight_decay: 0);
        (Tensor Ids, Tensor Targets)[] batches = [.. Enumerable.Range(0, LoraStep.Batches).Select(Batch)];
        GC.Collect(); // the managed arrays the weights were made from
        Output.Start("step", precision, threads, ("trainable", model.parameters().Where(p => p.requires_grad).Sum(p => p.numel())));
        StepTimer.Run(warmup, steps, neighbour, step =>
        {
            using DisposeScope scope = NewDisposeScope();
            optimizer.zero_grad();
            (Tensor ids, Tensor targets) = batches[step % LoraStep.Batches];
            Tensor loss = model.call(ids, targets);
            double value = loss.item<float>();
            loss.backward();
            optimizer.step();
            return value;
        });
    }

    private static (Tensor Ids, Tensor Targets) Batch(int number)
    {
        (int[] ids, int[] targets) = LoraStep.Batch(number);
        return (tensor(ids, dtype: ScalarType.Int64), tensor(targets, dtype: ScalarType.Int64));
    }
}
