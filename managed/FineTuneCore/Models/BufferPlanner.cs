using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>
/// Plans every activation of a pass over up to MaxRows tokens, in one arena. Made without a buffer it is the memory estimate;
/// bound to one it hands out views, and a step allocates nothing.
/// </summary>
internal sealed class BufferPlanner
{
    private readonly ModelPlan _model;
    private readonly ModelConfig _config;
    private readonly ArenaPlan _plan = new();
    private readonly Dictionary<string, Slot> _slots = [];

    /// <summary>Each linear of a block: its module, the matrix it reads, the gradient it is given, and where its S is kept.</summary>
    private static readonly (string Module, string Input, string Gradient, string S)[] Linears =
    [
        ("self_attn.q_proj", "norm1", "dq", "sq"), ("self_attn.k_proj", "norm1", "dk", "sk"), ("self_attn.v_proj", "norm1", "dv", "sv"),
        ("self_attn.o_proj", "attention", "gradient", "so"), ("mlp.gate_proj", "norm2", "gate", "sgate"), ("mlp.up_proj", "norm2", "up", "sup"),
        ("mlp.down_proj", "activated", "gradient", "sdown"),
    ];

    internal BufferPlanner(ModelPlan model, BufferMode mode, int maxRows)
    {
        (_model, _config, Mode, MaxRows) = (model, model.Config, mode, maxRows);
        for (int i = 0; i < _config.NumHiddenLayers; i++)
        {
            if (mode != BufferMode.Inference || i == 0) Add($"sum1.{i}", _config.HiddenSize);
            if (mode == BufferMode.Training || i == 0) PlanLayer(i);
        }

        PlanShared();
        Ahead = Trains && maxRows > model.PackedRows && LinearModules.Any(model.IsDequantisedAhead);
        PlanWorkspaces();
    }

    internal BufferMode Mode { get; }

    internal int MaxRows { get; }

    internal long WorkspaceBytes { get; private set; }

    /// <summary>Bytes of workspace of a pass in which nothing is dequantised ahead: the memory of <see cref="AheadMatrices"/> belongs to it then.</summary>
    internal long WholeWorkspaceBytes { get; private set; }

    /// <summary>Whether weights are dequantised ahead of passes with many rows.</summary>
    internal bool Ahead { get; }

    internal ArenaPlan Plan => _plan;

    private bool Trains => Mode != BufferMode.Inference;

    /// <summary>One planned tensor at its full size; none when it was not planned.</summary>
    internal Tensor View(DeviceBuffer buffer, string name) => _slots.TryGetValue(name, out Slot slot) ? slot.In(buffer) : default;

    /// <summary>The layer whose slots serve layer <paramref name="layer"/>.</summary>
    internal int Home(int layer) => Mode == BufferMode.Training ? layer : 0;

    /// <summary>Layers whose activations go through the slots of layer <paramref name="home"/>.</summary>
    private IEnumerable<int> ServedBy(int home) => Mode == BufferMode.Training ? [home] : Enumerable.Range(0, _config.NumHiddenLayers);

    private void PlanLayer(int i)
    {
        ModelConfig c = _config;
        int[] served = [.. ServedBy(i)];
        Add("norm1", c.HiddenSize, served, i);
        Add("q", c.QueryWidth, served, i);
        Add("k", c.KeyValueWidth, served, i);
        Add("v", c.KeyValueWidth, served, i);
        if (c.QkNorm)
        {
            Add("qpre", c.QueryWidth, served, i);
            Add("kpre", c.KeyValueWidth, served, i);
        }

        Add("attention", c.QueryWidth, served, i);
        Add($"sum2.{i}", c.HiddenSize);
        Add("norm2", c.HiddenSize, served, i);
        long stride = Math.Max(Wanted("gate", c.IntermediateSize, served).Stride, Wanted("up", c.IntermediateSize, served).Stride); // SwiGLU has one for both
        Add("gate", c.IntermediateSize, served, i, stride);
        Add("up", c.IntermediateSize, served, i, stride);
        foreach ((string module, _, _, string s) in Linears)
            if (served.Max(layer => _model.RankOf(WeightNames.Layer(layer, module))) is > 0 and int rank) AddExact($"{s}.{i}", rank);
        if (!Trains) return;
        AddExact($"rstd1.{i}", 1);
        AddExact($"rstd2.{i}", 1);
        AddExact($"lse.{i}", c.NumAttentionHeads);
        if (!c.QkNorm) return;
        AddExact($"rstdq.{i}", c.NumAttentionHeads);
        AddExact($"rstdk.{i}", c.NumKeyValueHeads);
    }

    private void PlanShared()
    {
        ModelConfig c = _config;
        int[] all = [.. Enumerable.Range(0, c.NumHiddenLayers)];
        Add("delta", c.HiddenSize);
        Add("activated", c.IntermediateSize, all);
        Add("head.sum", c.HiddenSize);
        Add("head.norm", c.HiddenSize);
        AddExact("head.rstd", 1);
        AddExact("head.nll", 1);
        AddExact("head.predictions", 1, DType.I32);
        foreach (string name in (string[])["ids", "positions", "targets", "samples"]) AddExact(name, 1, DType.I32);
        for (int w = 0; w < _model.Windows; w++) AddExact($"keybegin.{w}", 1, DType.I32);
        if (!Trains) return;
        Add("gradient", c.HiddenSize, all);
        Add("dactivated", c.IntermediateSize);
        Add("dnorm", c.HiddenSize);
        Add("dattention", c.QueryWidth);
        Add("dq", c.QueryWidth, all);
        Add("dk", c.KeyValueWidth, all);
        Add("dv", c.KeyValueWidth, all);
    }

    private IEnumerable<ModuleSpec> LinearModules =>
        Enumerable.Range(0, _config.NumHiddenLayers).SelectMany(WeightNames.Linears).Select(name => _model.Modules[name]);

    /// <summary>
    /// The workspace and, behind it, the matrices that weights are dequantised into ahead. A pass of few rows, which multiplies packed weights,
    /// has both as its workspace.
    /// </summary>
    private void PlanWorkspaces()
    {
        WorkspaceBytes = PlanWorkspace(MaxRows, Ahead);
        Slot workspace = _slots["workspace"] = _plan.Add(1, WorkspaceBytes, 0, DType.U8);
        WholeWorkspaceBytes = WorkspaceBytes;
        if (!Ahead) return;
        long bytes = LinearModules.Where(_model.IsDequantisedAhead).Max(m => _model.AheadLayout(m).BytesOf(m));
        for (int i = 0; i < WeightsAhead.Matrices; i++) _slots[$"ahead.{i}"] = _plan.Add(1, bytes, 0, DType.U8);
        int few = (int)Math.Min(MaxRows, _model.PackedRows);
        long missing = few < 1 ? 0 : PlanWorkspace(few, ahead: false) - (_plan.Bytes - workspace.ByteOffset);
        if (missing > 0) _plan.Add(1, missing, 0, DType.U8);
        WholeWorkspaceBytes = _plan.Bytes - workspace.ByteOffset;
    }

    private long PlanWorkspace(int rows, bool ahead)
    {
        ModelConfig c = _config;
        IBackend backend = _model.Backend;
        var shape = new AttentionShape(0, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim, 1);
        long bytes = backend.AttentionWorkspaceBytes(_model.Activations, rows, rows, in shape, Trains);
        bytes = Math.Max(bytes, backend.AttentionWorkspaceBytes(_model.Activations, rows, rows, in shape, backward: false));
        for (int i = 0; i < c.NumHiddenLayers; i++)
        {
            foreach ((string name, string input, string gradient, _) in Linears)
            {
                ModuleSpec module = _model.Modules[WeightNames.Layer(i, name)];
                bytes = Math.Max(bytes, LinearBytes(module, rows, BorderOf(input, i), ahead));
                if (Trains) bytes = Math.Max(bytes, LinearBytes(module, rows, BorderOf(gradient, i), ahead));
            }
        }

        ModuleSpec head = _model.Head;
        bytes = Math.Max(bytes, backend.LinearCrossEntropyWorkspaceBytes(
            _model.Activations, _model.LayoutOf(head).Format, rows, c.HiddenSize, c.VocabSize));
        // Decoder.LogitsOf computes one row of logits and keeps it at the end.
        return Math.Max(Math.Max(bytes, LinearBytes(head, rows: 1, activationBorder: 0, ahead: false)), 64) + c.VocabSize * 4L + 64;
    }

    private long LinearBytes(ModuleSpec module, int rows, int activationBorder, bool ahead)
    {
        WeightLayout layout = ahead && _model.IsDequantisedAhead(module) ? _model.AheadLayout(module) : _model.LayoutOf(module);
        int border = layout.Format is WeightFormat.F32 or WeightFormat.BF16 ? Math.Min(activationBorder, layout.Border) : activationBorder;
        return _model.Backend.LinearWorkspaceBytes(
            _model.Activations, layout.Format, border, rows, module.Columns, module.Rows, _model.RankOf(module.Name));
    }

    private int BorderOf(string name, int layer) => _slots.TryGetValue($"{name}.{Home(layer)}", out Slot slot) ? slot.Border : _slots[name].Border;

    /// <summary>A [MaxRows, columns] matrix with the row stride this device likes, which no linear layer borders.</summary>
    private void Add(string name, long columns) =>
        _slots[name] = _plan.Add(MaxRows, columns, _model.Backend.LinearStrides(_model.Activations, columns, columns, 0).Y, _model.Activations);

    /// <summary>
    /// A [MaxRows, columns] matrix of layer <paramref name="home"/> (or shared), with the stride and the border that the linears of all
    /// layers it serves want who read it, or are given it as gradient.
    /// </summary>
    private void Add(string name, long columns, int[] served, int? home = null, long atLeast = 0)
    {
        (long stride, int border) = Wanted(name, columns, served);
        _slots[home is null ? name : $"{name}.{home}"] = _plan.Add(MaxRows, columns, Math.Max(stride, atLeast), _model.Activations, border);
    }

    private (long Stride, int Border) Wanted(string name, long columns, int[] served)
    {
        long stride = _model.Backend.LinearStrides(_model.Activations, columns, columns, 0).Y;
        int border = 0;
        foreach ((string module, string input, string gradient, _) in Linears)
        {
            bool reads = input == name, isGiven = gradient == name && Trains;
            if (!reads && !isGiven) continue;
            foreach (int layer in served)
            {
                LinearStrides wanted = _model.StridesOf(_model.Modules[WeightNames.Layer(layer, module)]);
                border = Math.Max(border, wanted.Border);
                stride = Math.Max(stride, reads ? wanted.X : wanted.Y);
            }
        }

        return (Math.Max(stride, columns + border), border);
    }

    /// <summary>A matrix that the contract wants contiguous, fp32 unless told otherwise.</summary>
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

    /// <summary>The two matrices that weights are dequantised into ahead.</summary>
    internal Tensor[] AheadMatrices(DeviceBuffer buffer) => [.. Enumerable.Range(0, WeightsAhead.Matrices).Select(i => View(buffer, $"ahead.{i}"))];

    internal BatchBuffers Batch(DeviceBuffer buffer)
    {
        Tensor V(string name) => View(buffer, name);
        return new BatchBuffers
        {
            Ids = V("ids"), Positions = V("positions"), Targets = V("targets"), Samples = V("samples"),
            KeyBegin = [.. Enumerable.Range(0, _model.Windows).Select(w => V($"keybegin.{w}"))],
        };
    }
}
