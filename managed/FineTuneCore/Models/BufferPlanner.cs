using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>
/// Plans every activation of a pass over up to MaxRows tokens, in one arena. Made without a buffer it is the memory estimate;
/// bound to one it hands out views, and a step allocates nothing.
/// </summary>
internal sealed class BufferPlanner
{
    private readonly ModelConfig _config;
    private readonly ArenaPlan _plan = new();
    private readonly Dictionary<string, Slot> _slots = [];
    private readonly IBackend _backend;
    private readonly Func<string, int> _rankOf;

    /// <summary>Plans for a model whose linear module m carries an adapter of rank <paramref name="rankOf"/>(m), 0 without.</summary>
    internal BufferPlanner(ModelConfig config, IBackend backend, Func<string, int> rankOf, BufferMode mode, int maxRows, int windows)
    {
        (_config, _backend, _rankOf, Mode, MaxRows) = (config, backend, rankOf, mode, maxRows);
        int layers = config.NumHiddenLayers;
        bool training = mode != BufferMode.Inference;
        for (int i = 0; i < layers; i++)
        {
            if (mode != BufferMode.Inference || i == 0) Add($"sum1.{i}", config.HiddenSize);
            if (mode == BufferMode.Training || i == 0) PlanLayer(i, training);
        }

        PlanShared(training, windows);
        WorkspaceBytes = PlanWorkspace(training);
        _slots["workspace"] = _plan.Add(1, WorkspaceBytes, 0, DType.U8);
    }

    internal BufferMode Mode { get; }

    internal int MaxRows { get; }

    internal long WorkspaceBytes { get; }

    internal ArenaPlan Plan => _plan;

    /// <summary>One planned tensor at its full size; none when it was not planned.</summary>
    internal Tensor View(DeviceBuffer buffer, string name) => _slots.TryGetValue(name, out Slot slot) ? slot.In(buffer) : default;

    /// <summary>The layer whose slots serve layer <paramref name="layer"/>.</summary>
    internal int Home(int layer) => Mode == BufferMode.Training ? layer : 0;

    private void PlanLayer(int i, bool training)
    {
        ModelConfig c = _config;
        Add($"norm1.{i}", c.HiddenSize);
        Add($"q.{i}", c.QueryWidth);
        Add($"k.{i}", c.KeyValueWidth);
        Add($"v.{i}", c.KeyValueWidth);
        if (c.QkNorm)
        {
            Add($"qpre.{i}", c.QueryWidth);
            Add($"kpre.{i}", c.KeyValueWidth);
        }

        Add($"attention.{i}", c.QueryWidth);
        Add($"sum2.{i}", c.HiddenSize);
        Add($"norm2.{i}", c.HiddenSize);
        Add($"gate.{i}", c.IntermediateSize);
        Add($"up.{i}", c.IntermediateSize);
        foreach ((string name, string module) in Adapted)
            if (_rankOf(WeightNames.Layer(i, module)) is > 0 and int rank) AddExact($"{name}.{i}", rank);
        if (!training) return;
        Add($"rstd1.{i}", 1);
        Add($"rstd2.{i}", 1);
        AddExact($"lse.{i}", c.NumAttentionHeads);
        if (!c.QkNorm) return;
        AddExact($"rstdq.{i}", c.NumAttentionHeads);
        AddExact($"rstdk.{i}", c.NumKeyValueHeads);
    }

    private static readonly (string Name, string Module)[] Adapted =
    [
        ("sq", "self_attn.q_proj"), ("sk", "self_attn.k_proj"), ("sv", "self_attn.v_proj"), ("so", "self_attn.o_proj"),
        ("sgate", "mlp.gate_proj"), ("sup", "mlp.up_proj"), ("sdown", "mlp.down_proj"),
    ];

    private void PlanShared(bool training, int windows)
    {
        ModelConfig c = _config;
        Add("delta", c.HiddenSize);
        Add("activated", c.IntermediateSize);
        Add("head.sum", c.HiddenSize);
        Add("head.norm", c.HiddenSize);
        AddExact("head.rstd", 1);
        AddExact("head.nll", 1);
        AddExact("head.predictions", 1, DType.I32);
        foreach (string name in (string[])["ids", "positions", "targets", "samples"]) AddExact(name, 1, DType.I32);
        for (int w = 0; w < windows; w++) AddExact($"keybegin.{w}", 1, DType.I32);
        if (!training) return;
        Add("gradient", c.HiddenSize);
        Add("dactivated", c.IntermediateSize);
        Add("dnorm", c.HiddenSize);
        Add("dattention", c.QueryWidth);
        Add("dq", c.QueryWidth);
        Add("dk", c.KeyValueWidth);
        Add("dv", c.KeyValueWidth);
    }

    private long PlanWorkspace(bool training)
    {
        ModelConfig c = _config;
        var shape = new AttentionShape(0, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim, 1);
        long bytes = _backend.AttentionWorkspaceBytes(MaxRows, MaxRows, in shape, training);
        bytes = Math.Max(bytes, _backend.AttentionWorkspaceBytes(MaxRows, MaxRows, in shape, backward: false));
        bytes = Math.Max(bytes, _backend.LinearCrossEntropyWorkspaceBytes(DType.F32, WeightFormat.F32, MaxRows, c.HiddenSize, c.VocabSize));
        foreach (ModuleSpec module in WeightNames.Modules(c).Where(m => m.Kind is WeightKind.Linear or WeightKind.Head))
            bytes = Math.Max(bytes, _backend.LinearWorkspaceBytes(
                DType.F32, WeightFormat.F32, border: 0, MaxRows, module.Columns, module.Rows, _rankOf(module.Name)));
        // Decoder.LogitsOf keeps one row of logits at the end.
        return Math.Max(bytes, 64) + c.VocabSize * 4L + 64;
    }

    /// <summary>A [MaxRows, columns] matrix with the row stride this device likes.</summary>
    private void Add(string name, long columns) =>
        _slots[name] = _plan.Add(MaxRows, columns, columns == 1 ? 1 : _backend.LinearStrides(DType.F32, columns, columns, 0).Y);

    /// <summary>A matrix that the contract wants contiguous.</summary>
    private void AddExact(string name, long columns, DType dtype = DType.F32) => _slots[name] = _plan.Add(MaxRows, columns, columns, dtype);

    internal LayerBuffers Layer(DeviceBuffer buffer, int layer)
    {
        int i = Home(layer);
        Tensor V(string name) => View(buffer, $"{name}.{i}");
        Tensor q = V("q");
        Tensor qpre = V("qpre");
        return new LayerBuffers
        {
            Sum1 = View(buffer, $"sum1.{(Mode == BufferMode.Inference ? 0 : layer)}"),
            Norm1 = V("norm1"), Rstd1 = V("rstd1"), Q = q, K = V("k"), V = V("v"), QPre = qpre.IsNone ? q : qpre, KPre = V("kpre"),
            RstdQ = V("rstdq"), RstdK = V("rstdk"), Attention = V("attention"), Lse = V("lse"), Sum2 = V("sum2"), Norm2 = V("norm2"),
            Rstd2 = V("rstd2"), Gate = V("gate"), Up = V("up"), SQ = V("sq"), SK = V("sk"), SV = V("sv"), SO = V("so"), SGate = V("sgate"),
            SUp = V("sup"), SDown = V("sdown"),
        };
    }

    internal ScratchBuffers Scratch(DeviceBuffer buffer)
    {
        Tensor V(string name) => View(buffer, name);
        return new ScratchBuffers
        {
            Delta = V("delta"), Activated = V("activated"), Gradient = V("gradient"), DActivated = V("dactivated"), DNorm = V("dnorm"),
            DAttention = V("dattention"), DQ = V("dq"), DK = V("dk"), DV = V("dv"),
        };
    }

    internal HeadBuffers Head(DeviceBuffer buffer)
    {
        Tensor V(string name) => View(buffer, name);
        return new HeadBuffers
        {
            Sum = V("head.sum"), Norm = V("head.norm"), Rstd = V("head.rstd"), Nll = V("head.nll"), Predictions = V("head.predictions"),
        };
    }

    internal BatchBuffers Batch(DeviceBuffer buffer, int windows)
    {
        Tensor V(string name) => View(buffer, name);
        return new BatchBuffers
        {
            Ids = V("ids"), Positions = V("positions"), Targets = V("targets"), Samples = V("samples"),
            KeyBegin = [.. Enumerable.Range(0, windows).Select(w => V($"keybegin.{w}"))],
        };
    }
}
