using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FineTuneCore.Kernels;

/// <summary>
/// Rows × columns of one type, in memory that belongs to somebody else: a span, an array, a <see cref="DeviceBuffer"/>, another library's
/// tensor. A vector is one row. Spans and arrays are held in place while an op runs; memory at an address must outlive what the stream was given.
/// </summary>
public readonly ref struct TensorView
{
    private readonly ref byte _origin; // no reference to managed memory where it was made from an address

    private TensorView(ref byte origin, DType dtype, long rows, long columns, long rowStride, bool isHost, bool isReadOnly)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        if (rowStride == 0) rowStride = columns;
        if (rowStride < columns) throw new ArgumentException($"the row stride is {rowStride}, expected the row's {columns} columns or more", nameof(rowStride));
        _origin = ref origin;
        (DType, Rows, Columns, RowStride, IsHost, IsReadOnly) = (dtype, rows, columns, rowStride, isHost, isReadOnly);
    }

    /// <summary>No tensor, for arguments that may be left out.</summary>
    public static TensorView None => default;

    /// <summary>Type of the elements.</summary>
    public DType DType { get; }

    /// <summary>Rows, 1 for a vector.</summary>
    public long Rows { get; }

    /// <summary>Elements of a row.</summary>
    public long Columns { get; }

    /// <summary>Elements between the starts of two rows.</summary>
    public long RowStride { get; }

    /// <summary>Whether there is no tensor.</summary>
    public bool IsNone => Unsafe.IsNullRef(ref _origin);

    internal bool IsHost { get; }

    internal bool IsReadOnly { get; }

    internal bool IsContiguous => RowStride == Columns || Rows <= 1;

#pragma warning disable RS0026 // the overloads differ in the kind of memory, so that none of them stands in another's way
    /// <summary>A matrix in a span; ops may write to it.</summary>
    /// <exception cref="ArgumentException">The span is too short, or holds no type of elements.</exception>
    public static TensorView Of<T>(Span<T> values, long rows, long columns, long rowStride = 0)
        where T : unmanaged => Over(ref MemoryMarshal.GetReference(values), values.Length, rows, columns, rowStride, isReadOnly: false);

    /// <summary>A matrix in a span; an op that would write to it refuses.</summary>
    /// <inheritdoc cref="Of{T}(Span{T}, long, long, long)"/>
    public static TensorView Of<T>(ReadOnlySpan<T> values, long rows, long columns, long rowStride = 0)
        where T : unmanaged => Over(ref MemoryMarshal.GetReference(values), values.Length, rows, columns, rowStride, isReadOnly: true);

    /// <summary>A matrix in an array; ops may write to it.</summary>
    /// <inheritdoc cref="Of{T}(Span{T}, long, long, long)"/>
    public static TensorView Of<T>(T[] values, long rows, long columns, long rowStride = 0)
        where T : unmanaged => Of(values.AsSpan(), rows, columns, rowStride);
#pragma warning restore RS0026

    /// <summary>A matrix at an address of the device, such as another library's tensor: on a GPU an address of its memory.</summary>
    /// <param name="address">Not 0.</param>
    /// <param name="dtype">Type of the elements there.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="rowStride">Elements between the starts of two rows; 0 = <paramref name="columns"/>.</param>
    public static unsafe TensorView At(nint address, DType dtype, long rows, long columns, long rowStride = 0)
    {
        if (address == 0) throw new ArgumentException("the address is 0; for no tensor there is TensorView.None", nameof(address));
        return new TensorView(ref Unsafe.AsRef<byte>((void*)address), dtype, rows, columns, rowStride, isHost: false, isReadOnly: false);
    }

    /// <summary>Rows [begin, begin + count) of this matrix.</summary>
    public TensorView RowRange(long begin, long count)
    {
        if (begin < 0 || count < 0 || begin > Rows - count) throw new ArgumentOutOfRangeException(nameof(count), $"rows [{begin}, {begin + count}) of a tensor of {Rows}");
        return Moved(begin * RowStride, count, Columns);
    }

    /// <summary>Columns [begin, begin + count) of this matrix, such as k of q|k|v side by side.</summary>
    public TensorView ColumnRange(long begin, long count)
    {
        if (begin < 0 || count < 0 || begin > Columns - count) throw new ArgumentOutOfRangeException(nameof(count), $"columns [{begin}, {begin + count}) of a tensor of {Columns}");
        return Moved(begin, Rows, count);
    }

    /// <summary>For <c>fixed</c>.</summary>
    [System.ComponentModel.EditorBrowsable(System.ComponentModel.EditorBrowsableState.Never)]
    public ref byte GetPinnableReference() => ref _origin;

    /// <summary>A vector in an array.</summary>
    public static implicit operator TensorView(float[] values) => Of(values, 1, values.Length);

    /// <summary>A vector in a span.</summary>
    public static implicit operator TensorView(Span<float> values) => Of(values, 1, values.Length);

    /// <summary>A vector in a span; an op that would write to it refuses.</summary>
    public static implicit operator TensorView(ReadOnlySpan<float> values) => Of(values, 1, values.Length);

    /// <summary>A vector in memory.</summary>
    public static implicit operator TensorView(Memory<float> values) => Of(values.Span, 1, values.Length);

    /// <summary>Positions, ids or targets in an array.</summary>
    public static implicit operator TensorView(int[] values) => Of(values, 1, values.Length);

    /// <summary>Positions, ids or targets in a span.</summary>
    public static implicit operator TensorView(ReadOnlySpan<int> values) => Of(values, 1, values.Length);

    /// <summary>Codes in an array.</summary>
    public static implicit operator TensorView(byte[] values) => Of(values, 1, values.Length);

    /// <summary>Codes in a span.</summary>
    public static implicit operator TensorView(Span<byte> values) => Of(values, 1, values.Length);

    /// <summary>[rows, columns] dtype.</summary>
    public override string ToString() => IsNone ? "none" : $"[{Rows}, {Columns}] {DType}";

    private static TensorView Over<T>(ref T first, long length, long rows, long columns, long rowStride, bool isReadOnly)
        where T : unmanaged
    {
        // An empty span may have no address, yet is a tensor: of no elements.
        ref byte origin = ref length == 0 ? ref MemoryMarshal.GetArrayDataReference(Array.Empty<byte>()) : ref Unsafe.As<T, byte>(ref first);
        var view = new TensorView(ref origin, DTypes.Of<T>(), rows, columns, rowStride, isHost: true, isReadOnly);
        long needed = rows == 0 ? 0 : (rows - 1) * view.RowStride + columns;
        if (length < needed) throw new ArgumentException($"{length} elements are too few for {rows} rows of {columns} with stride {view.RowStride}, which take {needed}", nameof(rows));
        return view;
    }

    private TensorView Moved(long elements, long rows, long columns) =>
        new(ref Unsafe.AddByteOffset(ref _origin, (nint)(elements * DType.Size())), DType, rows, columns, RowStride, IsHost, IsReadOnly);
}
