using ILGPU;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>Operands of RMSNorm; X is t in backward, where Y is dy, Residual is dsum and Dx the result.</summary>
internal struct NormArguments<T>
    where T : unmanaged
{
    public ArrayView<T> X;
    public ArrayView<T> Y;
    public ArrayView<T> Residual;
    public ArrayView<T> Sum;
    public ArrayView<T> Dx;
    public ArrayView<float> Rstd;
    public ArrayView<float> Weight;
    public ArrayView<float> Dweight;
    public long XStride;
    public long YStride;
    public long ResidualStride;
    public long DxStride;
    public int Rows;
    public int Heads;
    public int Width;
    public int HasResidual;
    public int HasRstd;
    public float Eps;
}

/// <summary>RMSNorm with residual, per head where a row has several. Zhang &amp; Sennrich 2019, arXiv:1910.07467. A group takes one head of one row.</summary>
internal static class NormKernels
{
    public static void Forward<T, TElement>(NormArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reductions.Threads);
        int row = Grid.IdxX / p.Heads, head = Grid.IdxX % p.Heads, column = head * p.Width;
        float squares = 0f;
        for (int c = Group.IdxX; c < p.Width; c += Group.DimX)
        {
            float t = default(TElement).Load(p.X[row * p.XStride + column + c]);
            if (p.HasResidual != 0)
            {
                // Of the sum as it is stored, so that backward sees the same.
                T stored = default(TElement).Store(t + default(TElement).Load(p.Residual[row * p.ResidualStride + column + c]));
                p.Sum[row * p.XStride + column + c] = stored;
                t = default(TElement).Load(stored);
            }

            squares += t * t;
        }

        float rstd = 1f / MathF.Sqrt(Reductions.Sum(squares, shared) / p.Width + p.Eps);
        if (Group.IdxX == 0 && p.HasRstd != 0) p.Rstd[Grid.IdxX] = rstd;
        for (int c = Group.IdxX; c < p.Width; c += Group.DimX)
        {
            float t = default(TElement).Load(p.HasResidual != 0 ? p.Sum[row * p.XStride + column + c] : p.X[row * p.XStride + column + c]);
            p.Y[row * p.YStride + column + c] = default(TElement).Store(t * rstd * p.Weight[c]);
        }
    }

    /// <summary>dx = rstd (w dy - t · rstd² · mean(w dy t)) + dsum.</summary>
    public static void Backward<T, TElement>(NormArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reductions.Threads);
        int row = Grid.IdxX / p.Heads, head = Grid.IdxX % p.Heads, column = head * p.Width;
        float rstd = p.Rstd[Grid.IdxX], dot = 0f;
        for (int c = Group.IdxX; c < p.Width; c += Group.DimX)
        {
            float weighted = default(TElement).Load(p.Y[row * p.YStride + column + c]) * p.Weight[c];
            dot += weighted * default(TElement).Load(p.X[row * p.XStride + column + c]);
        }

        float slope = Reductions.Sum(dot, shared) / p.Width * rstd * rstd;
        for (int c = Group.IdxX; c < p.Width; c += Group.DimX)
        {
            float weighted = default(TElement).Load(p.Y[row * p.YStride + column + c]) * p.Weight[c];
            float dx = rstd * (weighted - default(TElement).Load(p.X[row * p.XStride + column + c]) * slope);
            if (p.HasResidual != 0) dx += default(TElement).Load(p.Residual[row * p.ResidualStride + column + c]);
            p.Dx[row * p.DxStride + column + c] = default(TElement).Store(dx);
        }
    }

    /// <summary>dweight += Σ over rows and heads of dy · t · rstd. A thread takes a column.</summary>
    public static void WeightGradient<T, TElement>(NormArguments<T> p)
        where T : unmanaged
        where TElement : struct, IElement<T>
    {
        int c = Grid.GlobalIndex.X;
        if (c >= p.Width) return;
        float sum = 0f;
        for (int row = 0; row < p.Rows; row++)
        {
            float rowSum = 0f;
            for (int head = 0; head < p.Heads; head++)
            {
                int column = head * p.Width + c;
                float dy = default(TElement).Load(p.Y[row * p.YStride + column]);
                rowSum += dy * default(TElement).Load(p.X[row * p.XStride + column]) * p.Rstd[(long)row * p.Heads + head];
            }

            sum += rowSum;
        }

        p.Dweight[c] += sum;
    }
}
