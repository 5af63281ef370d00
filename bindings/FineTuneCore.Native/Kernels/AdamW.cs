using FineTuneCore.Native;

namespace FineTuneCore.Kernels;

/// <summary>AdamW on flat F32 arrays. Loshchilov &amp; Hutter 2019, arXiv:1711.05101.</summary>
public static unsafe class AdamW
{
    /// <summary>One update of parameter and moments.</summary>
    /// <param name="stream">Where it is enqueued.</param>
    /// <param name="parameter">In and out, F32, contiguous.</param>
    /// <param name="m">In and out, as <paramref name="parameter"/>: first moment, zeroed before the first step.</param>
    /// <param name="v">In and out, likewise: second moment.</param>
    /// <param name="gradient">F32, as many.</param>
    /// <param name="options">Learning rate and the other numbers.</param>
    /// <param name="step">1 for the first update.</param>
    /// <exception cref="ArgumentException">A tensor has another size or type, or lies in the wrong memory; the message names it.</exception>
    public static void Step(DeviceStream stream, TensorView parameter, TensorView m, TensorView v, TensorView gradient, AdamWOptions options, long step)
    {
        const string Op = "AdamW.Step";
        ArgumentNullException.ThrowIfNull(options);
        long count = parameter.Rows * parameter.Columns;
        if (step < 1) throw Check.Wrong(Op, nameof(step), $"is {step}, expected 1 for the first update");
        Check.Flat(stream, parameter, DType.F32, count, written: true, Op);
        Check.Flat(stream, m, DType.F32, count, written: true, Op);
        Check.Flat(stream, v, DType.F32, count, written: true, Op);
        Check.Flat(stream, gradient, DType.F32, count, written: false, Op);
        var p = new AdamwParams
        {
            StructSize = (uint)sizeof(AdamwParams), LearningRate = options.LearningRate, Beta1 = options.Beta1, Beta2 = options.Beta2, Eps = options.Eps,
            WeightDecay = options.WeightDecay, GradientScale = options.GradientScale, Step = step, Count = count,
        };
        fixed (byte* pparameter = parameter, pm = m, pv = v, pgradient = gradient)
            NativeMethods.ftc_adamw_step(stream.Handle, (nint)pparameter, (nint)pm, (nint)pv, (nint)pgradient, in p).ThrowIfFailed();
    }
}
