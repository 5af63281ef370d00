namespace FineTuneCore.Benchmarks.Kernels;

/// <summary>Causal attention of one sequence with grouped key-value heads, rows of heads side by side; the rate counts the lower triangle only.</summary>
public abstract class AttentionKernel : ForwardBackwardKernel
{
    public override KernelFamily Family => KernelFamily.Attention;

    protected int Tokens => Size(0);

    protected int Heads => Size(1);

    protected int KeyValueHeads => Size(2);

    protected int HeadDim => Size(3);

    protected float Scale => (float)(1 / Math.Sqrt(HeadDim));

    protected float[] Q { get; private set; } = [];

    protected float[] K { get; private set; } = [];

    protected float[] V { get; private set; } = [];

    protected float[] Do { get; private set; } = [];

    private int Width => Heads * HeadDim;

    private int KeyWidth => KeyValueHeads * HeadDim;

    public override double Work(string method)
    {
        double product = 1e-9 * Heads * Tokens * Tokens * HeadDim; // half of 2 T² d
        return method == nameof(Forward) ? 2 * product : 5 * product;
    }

    protected override void Prepare() => (Q, K, V, Do) = (
        Uniform(1, (long)Tokens * Width), Uniform(2, (long)Tokens * KeyWidth), Uniform(3, (long)Tokens * KeyWidth), Uniform(4, (long)Tokens * Width));

    protected override void Ready() => Forward();

    /// <summary>Numbers of o and dq; dk of the last key, which one query sees; and that dv adds up to do, as probabilities of a row add up to 1.</summary>
    protected override void Check()
    {
        Forward();
        Near("o", Result("o"), Tokens, Width, (row, column) =>
        {
            double[] p = Probabilities(row, column / HeadDim);
            int key = KeyColumn(column);
            return Enumerable.Range(0, row + 1).Sum(j => p[j] * V[j * KeyWidth + key]);
        });
        Backward();
        Near("dq", Result("dq"), Tokens, Width, (row, column) => Scores(row, column / HeadDim).Select((ds, j) => Scale * ds * K[j * KeyWidth + KeyColumn(column)]).Sum());
        int last = Tokens - 1, group = Heads / KeyValueHeads;
        Near("dk", Result("dk")[^1], Enumerable.Range(Heads - group, group).Sum(h => Scale * Scores(last, h)[last] * Q[last * Width + (h + 1) * HeadDim - 1]));
        Near("the sum of dv", Result("dv").Sum(x => (double)x), Do.Sum(x => (double)x), 1e-2);
    }

    /// <summary>The column of k and v that belongs to one of q.</summary>
    private int KeyColumn(int column) => column / HeadDim / (Heads / KeyValueHeads) * HeadDim + column % HeadDim;

    private double[] Probabilities(int row, int head)
    {
        int q = row * Width + head * HeadDim, key = KeyColumn(head * HeadDim);
        double[] weights = [.. Enumerable.Range(0, row + 1).Select(j => Math.Exp(Scale * Enumerable.Range(0, HeadDim).Sum(i => (double)Q[q + i] * K[j * KeyWidth + key + i])))];
        double sum = weights.Sum();
        return [.. weights.Select(w => w / sum)];
    }

    /// <summary>Gradients of the scores of a row, before the scale.</summary>
    private double[] Scores(int row, int head)
    {
        int q = row * Width + head * HeadDim, key = KeyColumn(head * HeadDim);
        double[] p = Probabilities(row, head);
        double[] dp = [.. Enumerable.Range(0, row + 1).Select(j => Enumerable.Range(0, HeadDim).Sum(i => (double)Do[q + i] * V[j * KeyWidth + key + i]))];
        double mean = p.Zip(dp, (a, b) => a * b).Sum();
        return [.. p.Select((a, j) => a * (dp[j] - mean))];
    }
}
