using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>Operands of the loss beside its two products.</summary>
internal struct LossArguments<T>
    where T : unmanaged
{
    public ArrayView<float> Nll;
    public ArrayView<int> Predictions; // when HasPredictions
    public ArrayView<T> Dx; // when HasDx
    public ArrayView<int> Targets;
    public ArrayView<int> Trained; // numbers of the trained rows, in order, then -1
    public ArrayView<float> Logits; // of one chunk; they become gradients
    public ArrayView<float> Statistics; // of one chunk: the largest logit of every row, then the sums of exponentials
    public ArrayView<float> StepNumbers; // their first is the scale, when HasStepNumbers
    public ArrayView<int> Faults;
    public long DxStride;
    public int Rows;
    public int TrainedRows; // length of Trained
    public int First; // of the chunk, in Trained
    public int ChunkRows; // at most
    public int HiddenSize;
    public int VocabSize;
    public int HasPredictions;
    public int HasDx;
    public int HasStepNumbers;
    public float GradientScale;
}

/// <summary>Cross-entropy over chunks of trained rows; ignored ones are skipped, not computed.</summary>
internal static class LossKernels
{
    internal const int IgnoreIndex = -100;

    /// <summary>Numbers of the trained rows, by one group: each thread counts a stretch of rows, then writes its own behind those before it.</summary>
    public static void ListTrained<T>(LossArguments<T> p)
        where T : unmanaged
    {
        ArrayView<int> counts = SharedMemory.Allocate<int>(Reductions.Threads);
        int thread = Group.IdxX, stretch = (p.Rows + Group.DimX - 1) / Group.DimX;
        int begin = IntrinsicMath.Min(p.Rows, thread * stretch), end = IntrinsicMath.Min(p.Rows, begin + stretch), count = 0;
        for (int row = begin; row < end; row++)
        {
            int target = p.Targets[row];
            if (target == IgnoreIndex) continue;
            if (target < 0 || target >= p.VocabSize) Atomic.Max(ref p.Faults[Fault.Target], row + 1);
            else count++;
        }

        counts[thread] = count;
        Intrinsics.Barrier();
        int at = 0;
        for (int i = 0; i < thread; i++) at += counts[i];
        for (int row = begin; row < end; row++)
        {
            int target = p.Targets[row];
            if (target < 0 || target >= p.VocabSize) continue;
            if (at < p.TrainedRows) p.Trained[at] = row;
            else Atomic.Max(ref p.Faults[Fault.TrainedRows], row + 1);
            at++;
        }

        if (thread != Group.DimX - 1) return;
        for (int i = at; i < p.TrainedRows; i++) p.Trained[i] = -1;
    }

    /// <summary>nll 0, dx 0 and no prediction where the target is ignored. A group takes a row.</summary>
    public static void ClearIgnored<T, TElement>(LossArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int row = Grid.IdxX, target = p.Targets[row];
        if (target >= 0 && target < p.VocabSize) return;
        if (Group.IdxX == 0) p.Nll[row] = 0f;
        if (Group.IdxX == 0 && p.HasPredictions != 0) p.Predictions[row] = -1;
        if (p.HasDx == 0) return;
        for (int c = Group.IdxX; c < p.HiddenSize; c += Group.DimX) p.Dx[row * p.DxStride + c] = default(TElement).Store(0f);
    }

    /// <summary>Loss, prediction and statistics. A group takes a row of the chunk.</summary>
    public static void Softmax<T>(LossArguments<T> p)
        where T : unmanaged
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reductions.Threads);
        ArrayView<int> places = SharedMemory.Allocate<int>(Reductions.Threads);
        int row = p.Trained[p.First + Grid.IdxX], thread = Group.IdxX;
        if (row < 0) return; // the whole group
        long logits = (long)Grid.IdxX * p.VocabSize;
        float largest = float.NegativeInfinity;
        int place = 0;
        for (int c = thread; c < p.VocabSize; c += Group.DimX)
        {
            float logit = p.Logits[logits + c];
            if (!(logit > largest)) continue;
            largest = logit;
            place = c;
        }

        shared[thread] = largest;
        places[thread] = place;
        Intrinsics.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (thread < half)
            {
                float other = shared[thread + half];
                // The first of equals, wherever its thread sits.
                if (other > shared[thread] || (other == shared[thread] && places[thread + half] < places[thread]))
                {
                    shared[thread] = other;
                    places[thread] = places[thread + half];
                }
            }

            Intrinsics.Barrier();
        }

        float maximum = shared[0];
        int target = p.Targets[row];
        if (thread == 0 && p.HasPredictions != 0) p.Predictions[row] = places[0];
        float targetLogit = p.Logits[logits + target], sum = 0f;
        for (int c = thread; c < p.VocabSize; c += Group.DimX) sum += MathF.Exp(p.Logits[logits + c] - maximum);
        float total = Reductions.Sum(sum, shared);
        if (thread != 0) return;
        p.Nll[row] = MathF.Log(total) + (maximum - targetLogit);
        p.Statistics[Grid.IdxX] = maximum;
        p.Statistics[p.ChunkRows + Grid.IdxX] = total;
    }

    /// <summary>Gradients in place of the logits; those of rows that are not trained are 0 already. A thread takes a logit.</summary>
    public static void Gradient<T>(LossArguments<T> p)
        where T : unmanaged
    {
        int column = Grid.GlobalIndex.X, row = p.Trained[p.First + Grid.IdxY];
        if (row < 0 || column >= p.VocabSize) return;
        long at = (long)Grid.IdxY * p.VocabSize + column;
        float probability = MathF.Exp(p.Logits[at] - p.Statistics[Grid.IdxY]) / p.Statistics[p.ChunkRows + Grid.IdxY];
        if (column == p.Targets[row]) probability -= 1f;
        p.Logits[at] = probability * (p.HasStepNumbers != 0 ? p.StepNumbers[0] : p.GradientScale);
    }
}
