using FineTuneCore.Backends;
using FineTuneCore.Ilgpu.Kernels;
using FineTuneCore.Tensors;
using ILGPU;
using ILGPU.Runtime;

namespace FineTuneCore.Ilgpu;

/// <summary>Loss, optimisers and quantisers of <see cref="IlgpuBackend"/>.</summary>
internal sealed unsafe partial class IlgpuBackend
{
    private const int SquareGroups = 256; // partial sums of squares at most
    private const long SquaresPerGroup = 8192; // at least, so that a small gradient is one group's
    private const long ChunkLogits = 1 << 22; // of a chunk of the loss, where the rows are many: 16 MB
    private const int Statistics = 2; // of every row of a chunk
    private const long FewestChunkRows = 64; // a tile of the product

    /// <summary>Between neighbouring values of the NF4 map; a value on a threshold keeps the lower code. As bitsandbytes has them.</summary>
    private static readonly float[] Nf4Thresholds =
    [
        -0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f, -0.13791173323988914f,
        -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f, 0.2035212516784668f, 0.2920137718319893f, 0.3893125355243683f,
        0.5016634166240692f, 0.6427869200706482f, 0.8614784181118011f,
    ];

    public void LinearCrossEntropy(
        Tensor nll, Tensor predictions, Tensor dx, Tensor dweight, Tensor x, WeightMatrix weight, Tensor targets, int trainedRows,
        float gradientScale, Tensor stepNumbers, in Workspace workspace)
    {
        if (x.Rows == 0) return;
        if (IsBf16(x.DType, "cross-entropy")) Loss<ushort, Bf16Element>(nll, predictions, dx, dweight, x, weight, targets, trainedRows, gradientScale, stepNumbers, in workspace);
        else Loss<float, F32Element>(nll, predictions, dx, dweight, x, weight, targets, trainedRows, gradientScale, stepNumbers, in workspace);
        _mayHaveFaults = true;
    }

    public long LinearCrossEntropyWorkspaceBytes(DType dtype, WeightFormat format, long rows, long hiddenSize, long vocabSize)
    {
        long chunk = Math.Min(Math.Max(rows, 1), Math.Max(FewestChunkRows, ChunkLogits / vocabSize));
        return checked(ListBytes(rows) + chunk * (vocabSize + Statistics) * sizeof(float));
    }

    public UpdateNumbers AdamWNumbers(in AdamWArguments a)
    {
        double rate = a.LearningRate;
        return new UpdateNumbers(
            a.LearningRate, (float)(1 - rate * a.WeightDecay), (float)(rate / (1 - Math.Pow(a.Beta1, a.Step))), (float)Math.Sqrt(1 - Math.Pow(a.Beta2, a.Step)));
    }

    public void AdamWStep(Tensor parameter, Tensor m, Tensor v, Tensor gradient, in AdamWArguments a)
    {
        long count = parameter.Columns;
        if (count == 0) return;
        _kernels.Run(OptimizerKernels.AdamW, Elements(count), AdamW(parameter, gradient, in a) with { M = View<float>(m, count), V = View<float>(v, count), HasM = 1 });
    }

    public void AdamW8BitStep(
        Tensor parameter, Tensor mCodes, Tensor vCodes, Tensor mAbsmax, Tensor vAbsmax, Tensor gradient, Tensor mMap, Tensor vMap, in AdamWArguments a)
    {
        long count = parameter.Columns, blocks = (count + OptimizerKernels.StateBlock - 1) / OptimizerKernels.StateBlock;
        if (count == 0) return;
        _kernels.Run(OptimizerKernels.AdamW8Bit, Groups(blocks, GroupThreads), new CodedUpdateArguments
        {
            Update = AdamW(parameter, gradient, in a),
            M = new CodedState { Codes = View<byte>(mCodes, count), Absmax = View<float>(mAbsmax, blocks), Map = View<float>(mMap, 256) },
            V = new CodedState { Codes = View<byte>(vCodes, count), Absmax = View<float>(vAbsmax, blocks), Map = View<float>(vMap, 256) },
        });
    }

    public void SgdStep(Tensor parameter, Tensor velocity, Tensor gradient, in SgdArguments a)
    {
        long count = parameter.Columns;
        if (count == 0) return;
        bool moves = a.Momentum != 0 && !velocity.IsNone;
        _kernels.Run(OptimizerKernels.Sgd, Elements(count), Update(parameter, gradient, a.GradientScale, a.StepNumbers, a.UpdateNumbers) with
        {
            M = View<float>(moves ? velocity : default, count), HasM = moves ? 1 : 0, LearningRate = a.LearningRate, Momentum = a.Momentum, WeightDecay = a.WeightDecay,
        });
    }

    public void ClipGradients(Tensor stepNumbers, Tensor sum, Tensor nll, float clipNorm) =>
        _kernels.Run(OptimizerKernels.Clip, Groups(1, GroupThreads), new ClipArguments
        {
            StepNumbers = View<int>(stepNumbers, 4), Sum = View<float>(sum, 1), Nll = View<float>(nll, nll.Columns), Count = checked((int)nll.Columns), ClipNorm = clipNorm,
        });

    public void SumOfSquares(Tensor sum, Tensor x)
    {
        long count = x.Columns, perGroup = Math.Max(SquaresPerGroup, (count + SquareGroups - 1) / SquareGroups);
        int groups = (int)Math.Max(1, (count + perGroup - 1) / perGroup);
        var p = new SquaresArguments
        {
            X = View<float>(x, count), Partial = _partials.View.AsContiguous(), Sum = View<float>(sum, 1), Count = count, PerGroup = perGroup, Groups = groups,
        };
        _kernels.Run(OptimizerKernels.PartialSquares, Groups(groups, GroupThreads), p);
        _kernels.Run(OptimizerKernels.FinalSquares, Groups(1, GroupThreads), p);
    }

    public void Nf4Quantize(Tensor codes, Tensor absmax, Tensor x, long count)
    {
        if (count == 0) return;
        long blocks = (count + QuantKernels.Block - 1) / QuantKernels.Block;
        _kernels.Run(QuantKernels.Nf4, Groups(blocks, QuantKernels.Block / 2), new Nf4QuantizeArguments
        {
            Codes = View<byte>(codes, (count + 1) / 2), Absmax = View<float>(absmax, blocks), X = View<float>(x, count),
            Thresholds = _nf4Thresholds.View.AsContiguous(), Count = count,
        });
    }

    public void Nf4QuantizeAbsmax(Tensor codes, Tensor nestedAbsmax, Tensor nestedOffset, Tensor absmax, Tensor nestedMap, long count)
    {
        if (count == 0) return;
        long blocks = (count + QuantKernels.NestedBlock - 1) / QuantKernels.NestedBlock, rows = count / QuantKernels.SumLanes;
        int power = Math.Max(4, (rows > 1 ? System.Numerics.BitOperations.Log2((ulong)rows - 1) + 1 : 0) / 4);
        var p = new AbsmaxQuantizeArguments
        {
            Codes = View<byte>(codes, count), NestedAbsmax = View<float>(nestedAbsmax, blocks), NestedOffset = View<float>(nestedOffset, 1),
            Absmax = View<float>(absmax, count), NestedMap = View<float>(nestedMap, 256), Count = count, Rows = rows, Power = power,
        };
        _kernels.Run(QuantKernels.NestedOffset, Groups(1, QuantKernels.SumLanes), p);
        _kernels.Run(QuantKernels.NestedAbsmax, Groups(blocks, GroupThreads), p);
    }

    public void Int8Quantize(WeightMatrix destination, Tensor x)
    {
        if (x.Rows == 0) return;
        _kernels.Run(QuantKernels.Int8, Groups(x.Rows, GroupThreads), new RowQuantizeArguments
        {
            Codes = View<byte>(destination.Data, x.Rows * x.Columns), Scale = View<float>(destination.Scale, x.Rows), Minimum = View<float>(default),
            X = View<float>(x), XStride = x.RowStride, Rows = checked((int)x.Rows), Columns = checked((int)x.Columns),
        });
    }

    public void AffineQuantize(WeightMatrix destination, Tensor x, bool search)
    {
        if (x.Rows == 0) return;
        if (destination.Bits is not (2 or 3 or 4)) throw Invalid($"affine quantisation to {destination.Bits} bits, expected 4, 3 or 2");
        if (destination.GroupSize is not (32 or 64 or 128) || x.Columns % destination.GroupSize != 0)
            throw Invalid($"affine groups of {destination.GroupSize} of {x.Columns} columns, expected 32, 64 or 128 and a divisor");
        long groups = x.Rows * (x.Columns / destination.GroupSize);
        _kernels.Run(QuantKernels.Affine, Elements(groups), new RowQuantizeArguments
        {
            Codes = View<byte>(destination.Data, x.Rows * (x.Columns / 8 * destination.Bits)), Scale = View<float>(destination.Scale, groups),
            Minimum = View<float>(destination.Minimum, groups), X = View<float>(x), XStride = x.RowStride, Rows = checked((int)x.Rows),
            Columns = checked((int)x.Columns), Bits = destination.Bits, GroupSize = destination.GroupSize, Search = search ? 1 : 0,
        });
    }

    public void AffineMerge(WeightMatrix weight, Tensor b, Tensor a, float scaling)
    {
        long groups = weight.Columns / weight.GroupSize;
        _kernels.Run(QuantKernels.AffineMerge, Matrix(weight.Rows, groups), new AffineMergeArguments
        {
            Minimum = View<float>(weight.Minimum, weight.Rows * groups), A = View<float>(a, a.Rows * groups), B = View<float>(b, weight.Rows * a.Rows),
            Groups = (int)groups, Rank = (int)a.Rows, GroupSize = weight.GroupSize, Scaling = scaling,
        });
    }

    private void Loss<T, TElement>(
        Tensor nll, Tensor predictions, Tensor dx, Tensor dweight, Tensor x, WeightMatrix weight, Tensor targets, int trainedRows,
        float gradientScale, Tensor stepNumbers, in Workspace workspace)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        long rows = x.Rows, hidden = weight.Columns, vocab = weight.Rows, listBytes = ListBytes(rows);
        int trained = trainedRows > 0 ? (int)Math.Min(trainedRows, rows) : (int)rows;
        long chunk = Math.Min((workspace.Bytes - listBytes) / ((vocab + Statistics) * sizeof(float)), trained);
        if (chunk < 1) throw Invalid($"cross-entropy: the workspace has {workspace.Bytes} bytes, expected {listBytes + (vocab + Statistics) * sizeof(float)} or more");
        Tensor logits = workspace.Memory with { ByteOffset = workspace.Memory.ByteOffset + listBytes, RowStride = vocab, DType = DType.F32 };
        Tensor statistics = logits with { ByteOffset = logits.ByteOffset + chunk * vocab * sizeof(float) };
        var p = new LossArguments<T>
        {
            Nll = View<float>(nll, rows), Predictions = View<int>(predictions, rows), HasPredictions = Flag(predictions), Dx = View<T>(dx), DxStride = dx.RowStride,
            HasDx = Flag(dx), Targets = View<int>(targets, rows), Trained = View<int>(workspace.Memory, trained), Logits = View<float>(logits, chunk * vocab),
            Statistics = View<float>(statistics, chunk * Statistics), ChunkRows = (int)chunk,
            StepNumbers = View<float>(stepNumbers, 4), HasStepNumbers = Flag(stepNumbers), Faults = _faults.View.AsContiguous(), Rows = checked((int)rows),
            TrainedRows = trained, HiddenSize = checked((int)hidden), VocabSize = checked((int)vocab),
            GradientScale = gradientScale,
        };
        _kernels.Run(LossKernels.ListTrained, Groups(1, GroupThreads), p);
        _kernels.Run(LossKernels.ClearIgnored<T, TElement>, Groups(rows, GroupThreads), p);
        for (int first = 0; first < trained; first += (int)chunk)
        {
            long count = Math.Min(chunk, trained - first);
            ArrayView<int> numbers = p.Trained.SubView(first, count);
            var gathered = new GatheredRows<T, TElement> { Data = View<T>(x), Numbers = numbers, RowStride = x.RowStride };
            WithWeight(weight, new ProductAction<GatheredRows<T, TElement>, float, F32Element>(
                gathered, Into<float>(p.Logits, vocab, count, vocab, hidden) with { ADepthContiguous = 1, BDepthContiguous = 1 }));
            _kernels.Run(LossKernels.Softmax, Groups(count, GroupThreads), p with { First = first });
            if (dx.IsNone && dweight.IsNone) continue;
            _kernels.Run(LossKernels.Gradient, Matrix(count, vocab), p with { First = first });
            if (!dx.IsNone)
            {
                WithWeight(weight, new ProductAction<Dense<float, F32Element>, T, TElement>(
                    Plain(p.Logits, vocab),
                    Into<T>(p.Dx, dx.RowStride, count, hidden, vocab) with { ADepthContiguous = 1, CRows = numbers, HasCRows = 1 }));
            }

            if (dweight.IsNone) continue;
            Product<Dense<float, F32Element>, GatheredRows<T, TElement>, float, F32Element>(
                Plain(p.Logits, vocab), gathered,
                Into<float>(View<float>(dweight with { Rows = vocab, Columns = hidden }), dweight.RowStride, vocab, hidden, count) with { Accumulate = 1 });
        }
    }

    /// <summary>The list of trained rows, in front of the logits.</summary>
    private static long ListBytes(long rows) => (rows * sizeof(int) + Alignment - 1) / Alignment * Alignment;

    private UpdateArguments AdamW(Tensor parameter, Tensor gradient, in AdamWArguments a)
    {
        UpdateNumbers numbers = AdamWNumbers(in a);
        return Update(parameter, gradient, a.GradientScale, a.StepNumbers, a.UpdateNumbers) with
        {
            Beta1 = a.Beta1, OneMinusBeta1 = (float)(1.0 - a.Beta1), Beta2 = a.Beta2, OneMinusBeta2 = (float)(1.0 - a.Beta2), Eps = a.Eps,
            Decay = numbers.Decay, StepSize = numbers.StepSize, VCorrection = numbers.VCorrection,
        };
    }

    private UpdateArguments Update(Tensor parameter, Tensor gradient, float gradientScale, Tensor stepNumbers, Tensor updateNumbers)
    {
        ArrayView<float> none = View<float>(default);
        return new UpdateArguments
        {
            Parameter = View<float>(parameter, parameter.Columns), Gradient = View<float>(gradient, parameter.Columns), M = none, V = none, Count = parameter.Columns,
            StepNumbers = View<int>(stepNumbers, 4), HasStepNumbers = Flag(stepNumbers), UpdateNumbers = View<float>(updateNumbers, 4),
            HasUpdateNumbers = Flag(updateNumbers), GradientScale = gradientScale,
        };
    }
}
