using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>Scratch memory an op may use while it runs.</summary>
internal readonly record struct Workspace(Tensor Memory, long Bytes);

/// <summary>
/// One adapter on rows [RowBegin, RowEnd) of a linear layer; <c>S</c> is written by forward and read by backward. A Pool of 32, 64 or 128 makes it
/// QA-LoRA: A and Da are [rank, in-features / Pool].
/// </summary>
internal readonly record struct LoraSegmentArguments(
    long RowBegin, long RowEnd, int Rank, float Scaling, Tensor A, Tensor B, Tensor S, Tensor Da, Tensor Db,
    float DropoutProbability, ulong DropoutSeed, int Pool = 0);

/// <summary>
/// What names a row to the dropout generator, so that its bits do not depend on packing: sample and position. The step stands in
/// <see cref="StepNumbers"/> on the device where given.
/// </summary>
internal readonly record struct DropoutRows(Tensor Samples, Tensor Positions, uint Step, Tensor StepNumbers = default);

/// <summary>Heads, interval and scale of one attention call.</summary>
internal readonly record struct AttentionShape(
    long FirstQuery, int Heads, int KeyValueHeads, int HeadDim, float Scale);

/// <summary>One AdamW update; the gradient is multiplied by GradientScale first. What stands on the device counts where given.</summary>
internal readonly record struct AdamWArguments(
    float LearningRate, float Beta1, float Beta2, float Eps, float WeightDecay, float GradientScale, long Step, Tensor StepNumbers = default,
    Tensor UpdateNumbers = default);

/// <summary>One SGD update.</summary>
internal readonly record struct SgdArguments(
    float LearningRate, float Momentum, float WeightDecay, float GradientScale, Tensor StepNumbers = default, Tensor UpdateNumbers = default);

/// <summary>The numbers of a step as they stand on the device, where ops that are enqueued the same way every step find them.</summary>
/// <param name="LossScale">Gradient scale of the loss.</param>
/// <param name="DropoutStep">Step of the dropout generator.</param>
/// <param name="GradientScale">Clipping factor: written there by <see cref="IBackend.ClipGradients"/>.</param>
/// <param name="Skip">Not 0 when the update changes nothing: likewise.</param>
internal readonly record struct StepNumbers(float LossScale, uint DropoutStep, float GradientScale, int Skip);

/// <summary>The numbers of one group's update as they stand on the device.</summary>
internal readonly record struct UpdateNumbers(float LearningRate, float Decay, float StepSize, float VCorrection);
