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

/// <summary>What names a row to the dropout generator, so that its bits do not depend on packing: sample and position.</summary>
internal readonly record struct DropoutRows(Tensor Samples, Tensor Positions, uint Step);

/// <summary>Heads, interval and scale of one attention call.</summary>
internal readonly record struct AttentionShape(
    long FirstQuery, int Heads, int KeyValueHeads, int HeadDim, float Scale);

/// <summary>One AdamW update; the gradient is multiplied by GradientScale first.</summary>
internal readonly record struct AdamWArguments(
    float LearningRate, float Beta1, float Beta2, float Eps, float WeightDecay, float GradientScale, long Step);

/// <summary>One SGD update.</summary>
internal readonly record struct SgdArguments(float LearningRate, float Momentum, float WeightDecay, float GradientScale);
