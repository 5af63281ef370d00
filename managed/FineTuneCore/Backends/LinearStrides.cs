namespace FineTuneCore.Backends;

/// <summary>
/// What a device wants for a linear layer: row strides of x, y and the weight, in elements, and the columns behind each of them
/// (for the weight also rows below it) that the layer may overwrite, so that LoRA rides inside one matrix product.
/// </summary>
internal readonly record struct LinearStrides(int Border, long X, long Y, long Weight);
