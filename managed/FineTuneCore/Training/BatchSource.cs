using FineTuneCore.Data;
using FineTuneCore.Models;

namespace FineTuneCore.Training;

/// <summary>
/// Cuts samples into rows, micro-batches and steps. A step's content is a function of seed and step number alone, so a resumed run
/// needs no position. Rows are made once; each epoch shuffles their order.
/// </summary>
internal sealed class BatchSource
{
    private readonly TokenizedDataset _samples;
    private readonly int[][] _rows;
    private readonly int[] _trainedOfRow;
    private readonly int[] _order;
    private readonly int _microBatchSize;
    private readonly int _accumulationSteps;
    private readonly ulong? _seed;
    private readonly int[] _ids;
    private readonly int[] _positions;
    private readonly int[] _targets;
    private readonly int[] _starts;
    private readonly int[] _sampleNumbers;
    private int _epoch = -1;
    private int _filled;

    /// <summary>Rows are lists of samples; without a seed the order stays as it is (validation).</summary>
    internal BatchSource(TokenizedDataset samples, int[][] rows, int microBatchSize, int accumulationSteps, ulong? seed)
    {
        (_samples, _rows, _accumulationSteps, _seed) = (samples, rows, accumulationSteps, seed);
        _microBatchSize = Math.Min(microBatchSize, rows.Length);
        _order = [.. Enumerable.Range(0, rows.Length)];
        _trainedOfRow = [.. rows.Select(row => row.Sum(s => Trained(samples.MaskOf(s))))];
        Tokens = rows.Sum(row => row.Sum(s => (long)samples.LengthOf(s)));
        TrainedTokens = _trainedOfRow.Sum(n => (long)n);
        int longest = rows.Max(row => row.Sum(s => samples.LengthOf(s)));
        MaxRows = checked(longest * _microBatchSize);
        MicroBatches = (rows.Length + _microBatchSize - 1) / _microBatchSize;
        StepsPerEpoch = (MicroBatches + accumulationSteps - 1) / accumulationSteps;
        (_ids, _positions, _targets) = (new int[MaxRows], new int[MaxRows], new int[MaxRows]);
        (_starts, _sampleNumbers) = (new int[MaxRows], new int[MaxRows]);
    }

    /// <summary>Most tokens of one micro-batch.</summary>
    internal int MaxRows { get; }

    /// <summary>Micro-batches are padded to multiples of so many rows, as far as <see cref="MaxRows"/> goes: few shapes instead of many.</summary>
    internal int PadTo { get; set; } = 1;

    /// <summary>Most micro-batches of a step.</summary>
    internal int MostMicroBatches => Math.Min(_accumulationSteps, MicroBatches);

    internal int StepsPerEpoch { get; }

    /// <summary>Micro-batches of an epoch.</summary>
    internal int MicroBatches { get; }

    /// <summary>Tokens of an epoch.</summary>
    internal long Tokens { get; }

    internal long TrainedTokens { get; }

    /// <summary>Micro-batches of a step; the last step of an epoch may have fewer.</summary>
    internal int MicroBatchesOf(int step) =>
        Math.Min(_accumulationSteps, MicroBatches - step % StepsPerEpoch * _accumulationSteps);

    /// <summary>Trained tokens over all micro-batches of a step: what its loss is divided by.</summary>
    internal int TrainedTokensOf(int step)
    {
        EnterEpoch(step / StepsPerEpoch);
        int first = step % StepsPerEpoch * _accumulationSteps, trained = 0;
        for (int m = 0; m < MicroBatchesOf(step); m++)
            for (int r = (first + m) * _microBatchSize; r < RowEnd(first + m); r++) trained += _trainedOfRow[_order[r]];
        return trained;
    }

    /// <summary>Fills the arrays with one micro-batch and gives it; valid until the next call.</summary>
    internal TokenBatch Fill(int step, int microBatch)
    {
        EnterEpoch(step / StepsPerEpoch);
        int index = step % StepsPerEpoch * _accumulationSteps + microBatch;
        _filled = 0;
        for (int r = index * _microBatchSize; r < RowEnd(index); r++)
            foreach (int sample in _rows[_order[r]]) Append(sample);
        int tokens = _filled;
        Pad();
        return new TokenBatch
        {
            Rows = _filled,
            Tokens = tokens,
            Ids = _ids,
            Positions = _positions,
            Targets = _targets,
            SegmentStarts = _starts,
            Samples = _sampleNumbers,
        };
    }

    /// <summary>Targets of a sample that are trained: the first token is never one.</summary>
    internal static int Trained(ReadOnlySpan<byte> mask)
    {
        int trained = 0;
        for (int i = 1; i < mask.Length; i++) trained += mask[i] != 0 ? 1 : 0;
        return trained;
    }

    private int RowEnd(int microBatch) => Math.Min((microBatch + 1) * _microBatchSize, _rows.Length);

    private void Append(int sample)
    {
        ReadOnlySpan<int> ids = _samples.IdsOf(sample);
        ReadOnlySpan<byte> mask = _samples.MaskOf(sample);
        int start = _filled;
        ids.CopyTo(_ids.AsSpan(start));
        for (int i = 0; i < ids.Length; i++)
        {
            _positions[start + i] = i;
            _starts[start + i] = start;
            _sampleNumbers[start + i] = sample;
            _targets[start + i] = i + 1 < ids.Length && mask[i + 1] != 0 ? ids[i + 1] : -100;
        }

        _filled += ids.Length;
    }

    /// <summary>Rows that see themselves only and are not trained: they add nothing to any gradient.</summary>
    private void Pad()
    {
        int rows = Math.Min((_filled + PadTo - 1) / PadTo * PadTo, MaxRows);
        for (; _filled < rows; _filled++)
            (_ids[_filled], _positions[_filled], _targets[_filled], _starts[_filled], _sampleNumbers[_filled]) = (0, 0, -100, _filled, 0);
    }

    private void EnterEpoch(int epoch)
    {
        if (epoch == _epoch) return;
        _epoch = epoch;
        if (_seed is { } seed) Shuffle.Fill(_order, seed, epoch);
    }
}
