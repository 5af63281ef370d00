using FineTuneCore.Data;
using FluentAssertions;
using FsCheck;
using FsCheck.Xunit;
using Xunit;

namespace FineTuneCore.Tests.Data;

public sealed class PackingTests
{
    [Fact]
    public void Samples_go_into_the_fullest_row_with_room()
    {
        int[] lengths = [5, 3, 7, 2, 4, 9];
        int[][] rows = Packing.BestFitDecreasing([0, 1, 2, 3, 4, 5], i => lengths[i], 10);
        rows.Should().BeEquivalentTo(new int[][] { [0, 4], [1, 2], [3], [5] }, o => o.WithStrictOrdering());
        Packing.Efficiency(rows, i => lengths[i], 10).Should().BeApproximately(30 / 40.0, 1e-12);
        Packing.CumulativeLengths(rows[1], i => lengths[i]).Should().Equal(0, 3, 10);
        Packing.Unpacked([4, 2]).Should().BeEquivalentTo(new int[][] { [4], [2] }, o => o.WithStrictOrdering());
    }

    [Property(MaxTest = 300)]
    public bool Each_sample_is_in_one_row_and_no_row_overflows(PositiveInt capacity, NonNegativeInt[] numbers)
    {
        int size = capacity.Get % 97 + 1;
        int[] lengths = [.. numbers.Select(n => n.Get % size + 1)];
        int[][] rows = Packing.BestFitDecreasing([.. Enumerable.Range(0, lengths.Length)], i => lengths[i], size);
        return rows.All(row => row.Sum(i => lengths[i]) <= size)
            && rows.SelectMany(row => row).Order().SequenceEqual(Enumerable.Range(0, lengths.Length))
            && rows.Length <= lengths.Length
            && rows.Count(row => row.Sum(i => lengths[i]) * 2 <= size) <= 1; // Two rows at most half full would have been one.
    }

    [Property(MaxTest = 200)]
    public bool The_tree_agrees_with_a_plain_search(PositiveInt capacity, NonNegativeInt[] numbers)
    {
        int size = capacity.Get % 61 + 1;
        int[] lengths = [.. numbers.Select(n => n.Get % size + 1)];
        int[] samples = [.. Enumerable.Range(0, lengths.Length)];
        var free = new List<int>();
        foreach (int i in samples.OrderByDescending(i => lengths[i]).ThenBy(i => i))
        {
            int best = -1;
            for (int r = 0; r < free.Count; r++)
                if (free[r] >= lengths[i] && (best < 0 || free[r] < free[best]))
                    best = r;
            if (best < 0)
                free.Add(size - lengths[i]);
            else
                free[best] -= lengths[i];
        }
        return Packing.BestFitDecreasing(samples, i => lengths[i], size).Select(row => size - row.Sum(i => lengths[i])).Order().SequenceEqual(free.Order());
    }

    [Fact]
    public void A_sample_over_the_capacity_is_refused() =>
        FluentActions.Invoking(() => Packing.BestFitDecreasing([0], _ => 11, 10)).Should().Throw<ArgumentException>().WithMessage("sample 0 has 11 tokens*10*");

    [Fact]
    public void A_split_depends_on_the_seed_alone_and_leaves_none_out()
    {
        DataSplit split = DataSplit.Create(100, 0.1, 42);
        split.Validation.Should().HaveCount(10);
        split.Training.Concat(split.Validation).Order().Should().Equal(Enumerable.Range(0, 100));
        DataSplit.Create(100, 0.1, 42).Validation.Should().Equal(split.Validation);
        DataSplit.Create(100, 0.1, 43).Validation.Should().NotEqual(split.Validation);
        DataSplit.Create(5, 0, 1).Validation.Should().BeEmpty();
        DataSplit.Create(2, 0.9, 1).Training.Should().HaveCount(1);
        DataSplit.Create(1, 0.5, 1).Training.Should().HaveCount(1);
        FluentActions.Invoking(() => DataSplit.Create(5, 1, 1)).Should().Throw<ArgumentOutOfRangeException>();
    }

    [Fact]
    public void Orders_differ_by_epoch_and_repeat()
    {
        int[] first = Shuffle.Order(50, 7, epoch: 0);
        first.Order().Should().Equal(Enumerable.Range(0, 50));
        Shuffle.Order(50, 7, epoch: 0).Should().Equal(first);
        Shuffle.Order(50, 7, epoch: 1).Should().NotEqual(first);
    }

    [Fact]
    public void A_dataset_keeps_samples_apart_and_remembers_where_they_are_from()
    {
        var data = new TokenizedDataset();
        data.Add(new TokenizedExample([1, 2, 3], [0, 1, 1], new SourceLocation("a.jsonl", 4)));
        data.Add(new TokenizedExample([4, 5], [0, 1], new SourceLocation("b.jsonl", 9)));
        data.IdsOf(1).ToArray().Should().Equal(4, 5);
        data.MaskOf(0).ToArray().Should().Equal(0, 1, 1);
        (data.LengthOf(0), data.Count, data.Tokens).Should().Be((3, 2, 5));
        data.SourceOf(1).ToString().Should().Be("b.jsonl:9");
    }
}
