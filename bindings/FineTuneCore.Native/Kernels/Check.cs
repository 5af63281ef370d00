using System.Runtime.CompilerServices;

namespace FineTuneCore.Kernels;

/// <summary>Checks of arguments before the native call, with one wording: op, argument, what it is, what was expected.</summary>
internal static class Check
{
    /// <summary>A tensor that the op reads, of this shape and type.</summary>
    internal static void In(
        DeviceStream stream, in TensorView view, DType dtype, long rows, long columns, string op, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (view.IsNone || view.DType != dtype || view.Rows != rows || view.Columns != columns)
            throw new ArgumentException($"{op}: {name} is {view.ToString()}, expected [{rows}, {columns}] {dtype}", name);
        Readable(stream, view, op, name);
    }

    /// <summary>A tensor that the op writes, of this shape and type.</summary>
    internal static void Out(
        DeviceStream stream, in TensorView view, DType dtype, long rows, long columns, string op, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        In(stream, view, dtype, rows, columns, op, name);
        Writable(stream, view, op, name);
    }

    /// <summary>A tensor that the op writes unless it is left out.</summary>
    internal static void OutOrNone(
        DeviceStream stream, in TensorView view, DType dtype, long rows, long columns, string op, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (!view.IsNone) Out(stream, view, dtype, rows, columns, op, name);
    }

    /// <summary>A tensor that the op reads unless it is left out.</summary>
    internal static void InOrNone(
        DeviceStream stream, in TensorView view, DType dtype, long rows, long columns, string op, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (!view.IsNone) In(stream, view, dtype, rows, columns, op, name);
    }

    /// <summary>Elements in one piece, of this type and number, rows or not.</summary>
    internal static void Flat(
        DeviceStream stream, in TensorView view, DType dtype, long count, bool written, string op, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (view.IsNone || view.DType != dtype || view.Rows * view.Columns != count || !view.IsContiguous)
            throw new ArgumentException($"{op}: {name} is {view.ToString()}{(view.IsContiguous ? "" : $" with stride {view.RowStride}")}, expected {count} contiguous elements of {dtype}", name);
        if (written) Writable(stream, view, op, name);
        else Readable(stream, view, op, name);
    }

    internal static void Copy(in TensorView view, DType dtype, long count, string op)
    {
        if (view.IsNone || view.DType != dtype || view.Rows * view.Columns != count || !view.IsContiguous)
            throw new ArgumentException($"{op}: the tensor is {view.ToString()}, expected {count} contiguous elements of {dtype}, as the span holds");
    }

    internal static void Readable(DeviceStream stream, in TensorView view, string op, string name)
    {
        if (view.IsHost && !stream.Device.ReadsHostMemory)
            throw new ArgumentException($"{op}: {name} lies in ordinary memory, but {stream.Device.Name} reads its own; copy it to a buffer of the device with DeviceStream.Upload", name);
    }

    internal static void Writable(DeviceStream stream, in TensorView view, string op, string name)
    {
        Readable(stream, view, op, name);
        if (view.IsReadOnly) throw new ArgumentException($"{op}: {name} was made of a ReadOnlySpan, but is written", name);
    }

    /// <summary>Activations: F32 or BF16.</summary>
    internal static DType Activations(in TensorView view, string op, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (view.IsNone || view.DType is not (DType.F32 or DType.BF16)) throw new ArgumentException($"{op}: {name} is {view.ToString()}, expected F32 or BF16", name);
        return view.DType;
    }

    internal static void SameStride(in TensorView one, in TensorView other, string op, string names)
    {
        if (one.RowStride != other.RowStride) throw new ArgumentException($"{op}: {names} have the row strides {one.RowStride} and {other.RowStride}, expected one", names);
    }

    /// <summary>The exception for an argument that none of the other checks knows.</summary>
    internal static ArgumentException Wrong(string op, string name, string what) => new($"{op}: {name} {what}", name);
}
