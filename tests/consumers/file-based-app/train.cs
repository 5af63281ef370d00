#:package FineTuneCore@*
using FineTuneCore.Models;
using FineTuneCore.Training;

RandomModel.Write("base");
File.WriteAllLines("sums.jsonl", from a in Enumerable.Range(0, 10) from b in Enumerable.Range(0, 10)
    select $$"""{"prompt": "{{a}} + {{b}} =", "completion": " {{a + b}}"}""");
var options = new FineTuneOptions { Model = "base", Data = "sums.jsonl", Output = "run", Method = FineTuneMethod.Full };
(options.LearningRate, options.MaxSteps, options.Device) = (5e-3, 40, "cpu");
FineTuneResult result = await new FineTuner(options).RunAsync();
Console.WriteLine($"validation loss {result.InitialValidationLoss:F3} -> {result.FinalValidationLoss:F3}");
return result.FinalValidationLoss < 0.5 * result.InitialValidationLoss ? 0 : 1;
