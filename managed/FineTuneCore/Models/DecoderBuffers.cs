using FineTuneCore.Backends;
using FineTuneCore.Tensors;

namespace FineTuneCore.Models;

/// <summary>What a pass keeps, and so what it needs memory for.</summary>
internal enum BufferMode
{
    /// <summary>Forward only: one block's buffers serve all.</summary>
    Inference,

    /// <summary>Backward follows: every block keeps what its backward reads.</summary>
    Training,

    /// <summary>Backward follows: every block keeps its input and is recomputed. Chen et al. 2016, arXiv:1604.06174.</summary>
    TrainingCheckpointed,
}

/// <summary>What one block writes in forward and reads in backward; [rows, …], cut to the rows of the current batch.</summary>
internal sealed class LayerBuffers
{
    internal Tensor Sum1 { get; set; }

    internal Tensor Norm1 { get; set; }

    internal Tensor Rstd1 { get; set; }

    /// <summary>Q before its norm; the same memory as Q where there is no norm.</summary>
    internal Tensor QPre { get; set; }

    internal Tensor KPre { get; set; }

    internal Tensor RstdQ { get; set; }

    internal Tensor RstdK { get; set; }

    internal Tensor Q { get; set; }

    internal Tensor K { get; set; }

    internal Tensor V { get; set; }

    internal Tensor Attention { get; set; }

    internal Tensor Lse { get; set; }

    internal Tensor Sum2 { get; set; }

    internal Tensor Norm2 { get; set; }

    internal Tensor Rstd2 { get; set; }

    internal Tensor Gate { get; set; }

    internal Tensor Up { get; set; }

    internal Tensor SQ { get; set; }

    internal Tensor SK { get; set; }

    internal Tensor SV { get; set; }

    internal Tensor SO { get; set; }

    internal Tensor SGate { get; set; }

    internal Tensor SUp { get; set; }

    internal Tensor SDown { get; set; }

    /// <summary>Cuts every view to the rows of the current batch.</summary>
    internal void Cut(long rows)
    {
        Sum1 = Sum1.FirstRows(rows);
        Norm1 = Norm1.FirstRows(rows);
        Rstd1 = Rstd1.FirstRows(rows);
        QPre = QPre.FirstRows(rows);
        KPre = KPre.FirstRows(rows);
        RstdQ = RstdQ.FirstRows(rows);
        RstdK = RstdK.FirstRows(rows);
        Q = Q.FirstRows(rows);
        K = K.FirstRows(rows);
        V = V.FirstRows(rows);
        Attention = Attention.FirstRows(rows);
        Lse = Lse.FirstRows(rows);
        Sum2 = Sum2.FirstRows(rows);
        Norm2 = Norm2.FirstRows(rows);
        Rstd2 = Rstd2.FirstRows(rows);
        Gate = Gate.FirstRows(rows);
        Up = Up.FirstRows(rows);
        SQ = SQ.FirstRows(rows);
        SK = SK.FirstRows(rows);
        SV = SV.FirstRows(rows);
        SO = SO.FirstRows(rows);
        SGate = SGate.FirstRows(rows);
        SUp = SUp.FirstRows(rows);
        SDown = SDown.FirstRows(rows);
    }
}

/// <summary>Memory all blocks share.</summary>
internal sealed class ScratchBuffers
{
    internal Tensor Delta { get; set; }

    internal Tensor Activated { get; set; }

    internal Tensor Gradient { get; set; }

    internal Tensor DActivated { get; set; }

    internal Tensor DNorm { get; set; }

    internal Tensor DAttention { get; set; }

    internal Tensor DQ { get; set; }

    internal Tensor DK { get; set; }

    internal Tensor DV { get; set; }

    /// <summary>Cuts every view to the rows of the current batch.</summary>
    internal void Cut(long rows)
    {
        Delta = Delta.FirstRows(rows);
        Activated = Activated.FirstRows(rows);
        Gradient = Gradient.FirstRows(rows);
        DActivated = DActivated.FirstRows(rows);
        DNorm = DNorm.FirstRows(rows);
        DAttention = DAttention.FirstRows(rows);
        DQ = DQ.FirstRows(rows);
        DK = DK.FirstRows(rows);
        DV = DV.FirstRows(rows);
    }
}

/// <summary>The final norm, the head's input and the loss per row.</summary>
internal sealed class HeadBuffers
{
    internal Tensor Sum { get; set; }

    internal Tensor Norm { get; set; }

    internal Tensor Rstd { get; set; }

    internal Tensor Nll { get; set; }

    internal Tensor Predictions { get; set; }

    /// <summary>Cuts every view to the rows of the current batch.</summary>
    internal void Cut(long rows)
    {
        Sum = Sum.FirstRows(rows);
        Norm = Norm.FirstRows(rows);
        Rstd = Rstd.FirstRows(rows);
        Nll = Nll.FirstRows(rows);
        Predictions = Predictions.FirstRows(rows);
    }
}

/// <summary>The batch as device arrays: one entry a row.</summary>
internal sealed class BatchBuffers
{
    internal Tensor Ids { get; set; }

    internal Tensor Positions { get; set; }

    internal Tensor Targets { get; set; }

    internal Tensor Samples { get; set; }

    /// <summary>First key of each row, one array per distinct window of the model.</summary>
    internal required Tensor[] KeyBegin { get; set; }

    /// <summary>Cuts every view to the rows of the current batch.</summary>
    internal void Cut(long rows)
    {
        Ids = Ids.FirstRows(rows);
        Positions = Positions.FirstRows(rows);
        Targets = Targets.FirstRows(rows);
        Samples = Samples.FirstRows(rows);
        for (int w = 0; w < KeyBegin.Length; w++) KeyBegin[w] = KeyBegin[w].FirstRows(rows);
    }
}
