namespace FineTuneCore.Benchmarks;

/// <summary>One frozen matrix of the step's model; the A of its adapter has the next stream.</summary>
internal readonly record struct StepMatrix(string Module, int Rows, int Columns, ulong Stream, bool Adapted);

/// <summary>
/// The training step that both sides run: one LoRA step of a small Llama with 6 layers, and numbers for it that any language can make again. Every
/// array is a stream of a counter-based generator (splitmix64's mixing), so that weights, adapters and tokens are equal on both sides to the bit.
/// </summary>
internal static class LoraStep
{
    internal const int HiddenSize = 576;
    internal const int IntermediateSize = 1536;
    internal const int Heads = 9;
    internal const int KeyValueHeads = 3;
    internal const int HeadDim = 64;
    internal const int Layers = 6;
    internal const int VocabSize = 8192;
    internal const int BatchSize = 4;
    internal const int SequenceLength = 256;
    internal const int Tokens = BatchSize * SequenceLength;
    internal const int Batches = 4; // step s uses batch s mod 4
    internal const float RmsNormEps = 1e-5f;
    internal const float RopeTheta = 10000;
    internal const int Rank = 16;
    internal const float Alpha = 32;
    internal const float LearningRate = 1e-3f;
    internal const float Beta1 = 0.9f;
    internal const float Beta2 = 0.999f;
    internal const float Epsilon = 1e-8f;

    /// <summary>Work of a step in 10⁹ operations: frozen products forward and back, adapters, attention over the lower triangle.</summary>
    internal const double Gigaflop = 119;

    internal const string Embedding = "model.embed_tokens";
    internal const string Head = "lm_head";

    private const ulong Seed = 42;
    private const ulong TokenStream = 900_000;

    /// <summary>Losses of an fp32 run that autograd, a hand-written backward and custom functions agreed on, by step.</summary>
    internal static readonly IReadOnlyDictionary<int, double> ExpectedLosses = new Dictionary<int, double>
    {
        [0] = 9.1375, [1] = 9.1167, [2] = 9.1185, [3] = 9.1172, [4] = 8.8586, [5] = 8.8711, [6] = 8.9112, [8] = 8.6707, [12] = 8.4961,
    };

    /// <summary>±0.02 √3: the uniform distribution with a standard deviation of 0.02.</summary>
    internal static float WeightBound { get; } = (float)(0.02 * Math.Sqrt(3));

    /// <summary>All frozen matrices, under their Hugging Face names.</summary>
    internal static IEnumerable<StepMatrix> Matrices()
    {
        yield return new StepMatrix(Embedding, VocabSize, HiddenSize, 1, Adapted: false);
        yield return new StepMatrix(Head, VocabSize, HiddenSize, 2, Adapted: false);
        for (int layer = 0; layer < Layers; layer++)
        {
            ulong stream = 1000 * (ulong)(layer + 1);
            foreach ((string name, int rows, int columns) in Linears())
            {
                yield return new StepMatrix($"model.layers.{layer}.{name}", rows, columns, stream, Adapted: true);
                stream += 10;
            }
        }
    }

    /// <summary>The seven linear layers of a block.</summary>
    internal static IEnumerable<(string Name, int Rows, int Columns)> Linears() =>
    [
        ("self_attn.q_proj", Heads * HeadDim, HiddenSize), ("self_attn.k_proj", KeyValueHeads * HeadDim, HiddenSize),
        ("self_attn.v_proj", KeyValueHeads * HeadDim, HiddenSize), ("self_attn.o_proj", HiddenSize, Heads * HeadDim),
        ("mlp.gate_proj", IntermediateSize, HiddenSize), ("mlp.up_proj", IntermediateSize, HiddenSize), ("mlp.down_proj", HiddenSize, IntermediateSize),
    ];

    /// <summary>A frozen matrix, row-major.</summary>
    internal static float[] Weight(in StepMatrix matrix) => Uniform(matrix.Stream, matrix.Rows * matrix.Columns, WeightBound);

    /// <summary>The A of its adapter, [Rank, Columns]; B is zero.</summary>
    internal static float[] AdapterA(in StepMatrix matrix) => Uniform(matrix.Stream + 1, Rank * matrix.Columns, (float)(1 / Math.Sqrt(matrix.Columns)));

    /// <summary>Inputs and targets of a batch, [BatchSize · SequenceLength].</summary>
    internal static (int[] Ids, int[] Targets) Batch(int number)
    {
        var ids = new int[Tokens];
        var targets = new int[Tokens];
        for (int row = 0; row < BatchSize; row++)
        {
            ulong key = StreamKey(TokenStream + (ulong)(BatchSize * number + row));
            int token = (int)(Mix(key) % VocabSize);
            for (int i = 0; i < SequenceLength; i++)
            {
                ids[row * SequenceLength + i] = token;
                token = (5 * token + 7 + (int)(Mix(key + (ulong)i + 1) & 3)) % VocabSize;
                targets[row * SequenceLength + i] = token;
            }
        }

        return (ids, targets);
    }

    /// <summary>Numbers in ±bound.</summary>
    internal static float[] Uniform(ulong stream, int count, float bound)
    {
        ulong key = StreamKey(stream);
        var values = new float[count];
        for (int i = 0; i < count; i++) values[i] = (2 * ((Mix(key + (ulong)i) >> 40) / 16_777_216f) - 1) * bound;
        return values;
    }

    /// <summary>Compares the generator with numbers that were written down when the step was defined.</summary>
    /// <exception cref="InvalidOperationException">It makes others.</exception>
    internal static void CheckGenerator()
    {
        float[] first = Uniform(1, 3, 1), thousandth = Uniform(1000, 3, 1);
        double[] expected = [0.1672847, -0.2842131, -0.2212149, -0.8768901, -0.2162691, -0.0869358];
        int[] ids = Batch(0).Ids;
        bool same = first.Concat(thousandth).Zip(expected, (a, b) => Math.Abs(a - b) < 1e-6).All(x => x)
            && ids.AsSpan(0, 7).SequenceEqual([2295, 3293, 88, 449, 2254, 3088, 7257])
            && ids.AsSpan(SequenceLength, 7).SequenceEqual([2970, 6668, 579, 2903, 6330, 7084, 2660]);
        if (!same) throw new InvalidOperationException("the generator of the step's numbers does not make the numbers it should: its check values differ");
    }

    private static ulong StreamKey(ulong stream) => Mix(Seed * 1_000_003 + stream);

    private static ulong Mix(ulong z)
    {
        z += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
