namespace FineTuneCore.Tests.Models;

/// <summary>
/// A decoder in plain loops and double precision, from the published formulas: RMSNorm (arXiv:1910.07467), rotary embedding by halves
/// (arXiv:2104.09864), grouped-query attention (arXiv:2305.13245), SwiGLU (arXiv:2002.05202). Shares no code with the product.
/// </summary>
internal sealed class ReferenceDecoder(string config, IReadOnlyDictionary<string, float[]> weights)
{
    private readonly ReferenceConfig _c = new(config);

    /// <summary>Logits of every position of one sequence, [tokens][vocab].</summary>
    internal double[][] Logits(int[] ids)
    {
        ReferenceRope rope = ReferenceRope.Create(_c, ids.Length);
        double[][] x = [.. ids.Select(id => Row("model.embed_tokens.weight", id, _c.Hidden))];
        for (int layer = 0; layer < _c.Layers; layer++)
        {
            string at = $"model.layers.{layer}.";
            double[][] attended = Attention(at, layer, [.. x.Select(row => Norm(row, $"{at}input_layernorm.weight"))], rope);
            Add(x, attended);
            double[][] normed = [.. x.Select(row => Norm(row, $"{at}post_attention_layernorm.weight"))];
            Add(x, [.. normed.Select(row => Mlp(at, row))]);
        }

        string head = _c.Tied ? "model.embed_tokens" : "lm_head";
        return [.. x.Select(row => Linear(head, Norm(row, "model.norm.weight"), _c.Vocab))];
    }

    /// <summary>-log p of each next token, [tokens - 1].</summary>
    internal static double[] NegativeLogLikelihoods(double[][] logits, int[] ids) => [.. Enumerable.Range(0, ids.Length - 1).Select(i =>
    {
        double largest = logits[i].Max();
        return largest + Math.Log(logits[i].Sum(z => Math.Exp(z - largest))) - logits[i][ids[i + 1]];
    })];

    private double[][] Attention(string at, int layer, double[][] x, ReferenceRope rope)
    {
        int d = _c.HeadDim, group = _c.Heads / _c.KeyValueHeads;
        double[][] q = [.. x.Select((row, i) => Heads($"{at}self_attn.q_proj", $"{at}self_attn.q_norm.weight", row, _c.Heads, i, rope))];
        double[][] k = [.. x.Select((row, i) => Heads($"{at}self_attn.k_proj", $"{at}self_attn.k_norm.weight", row, _c.KeyValueHeads, i, rope))];
        double[][] v = [.. x.Select(row => Linear($"{at}self_attn.v_proj", row, _c.KeyValueHeads * d))];
        var result = new double[x.Length][];
        for (int i = 0; i < x.Length; i++)
        {
            int first = _c.Windows[layer] is { } window ? Math.Max(0, i - window + 1) : 0;
            var mixed = new double[_c.Heads * d];
            for (int head = 0; head < _c.Heads; head++)
            {
                int from = head / group * d;
                double[] scores = [.. Enumerable.Range(first, i - first + 1).Select(j => Dot(q[i], head * d, k[j], from, d) / Math.Sqrt(d))];
                double largest = scores.Max(), sum = scores.Sum(s => Math.Exp(s - largest));
                for (int j = first; j <= i; j++)
                {
                    double p = Math.Exp(scores[j - first] - largest) / sum;
                    for (int n = 0; n < d; n++) mixed[head * d + n] += p * v[j][from + n];
                }
            }

            result[i] = Linear($"{at}self_attn.o_proj", mixed, _c.Hidden);
        }

        return result;
    }

    /// <summary>Projection, norm per head where the family has one, rotation by the position.</summary>
    private double[] Heads(string projection, string norm, double[] x, int heads, int position, ReferenceRope rope)
    {
        int d = _c.HeadDim, half = d / 2;
        double[] y = Linear(projection, x, heads * d);
        for (int head = 0; head < heads; head++)
        {
            double[] part = y[(head * d)..((head + 1) * d)];
            if (_c.QkNorm) part = Norm(part, norm);
            for (int n = 0; n < half; n++)
            {
                double angle = position * rope.InverseFrequencies[n];
                double cos = Math.Cos(angle) * rope.AttentionFactor, sin = Math.Sin(angle) * rope.AttentionFactor;
                y[head * d + n] = part[n] * cos - part[n + half] * sin;
                y[head * d + n + half] = part[n + half] * cos + part[n] * sin;
            }
        }

        return y;
    }

    private double[] Mlp(string at, double[] x)
    {
        double[] gate = Linear($"{at}mlp.gate_proj", x, _c.Intermediate), up = Linear($"{at}mlp.up_proj", x, _c.Intermediate);
        double[] product = [.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)];
        return Linear($"{at}mlp.down_proj", product, _c.Hidden);
    }

    private double[] Norm(double[] x, string weight)
    {
        float[] w = weights[weight];
        double scale = 1 / Math.Sqrt(x.Sum(value => value * value) / x.Length + _c.Epsilon);
        return [.. x.Select((value, i) => value * scale * w[i])];
    }

    private double[] Linear(string name, double[] x, int rows)
    {
        float[] w = weights[$"{name}.weight"];
        float[]? bias = weights.GetValueOrDefault($"{name}.bias");
        var y = new double[rows];
        for (int r = 0; r < rows; r++)
        {
            double sum = bias?[r] ?? 0;
            for (int c = 0; c < x.Length; c++) sum += w[r * x.Length + c] * x[c];
            y[r] = sum;
        }

        return y;
    }

    private double[] Row(string name, int row, int columns) => [.. weights[name].AsSpan(row * columns, columns).ToArray().Select(v => (double)v)];

    private static void Add(double[][] x, double[][] delta)
    {
        for (int i = 0; i < x.Length; i++)
            for (int n = 0; n < x[i].Length; n++) x[i][n] += delta[i][n];
    }

    private static double Dot(double[] a, int aFrom, double[] b, int bFrom, int count)
    {
        double sum = 0;
        for (int i = 0; i < count; i++) sum += a[aFrom + i] * b[bFrom + i];
        return sum;
    }
}
