using FineTuneCore.Backends;
using FineTuneCore.Files;
using FineTuneCore.Tensors;
using Nf4Tables = FineTuneCore.Kernels.Nf4Tables;

namespace FineTuneCore.Models;

/// <summary>How frozen linear weights are kept in memory.</summary>
internal enum BaseFormat
{
    /// <summary>As the checkpoint stores them: F32 and BF16 where they lie in the mapped file, F16 widened to F32, NF4 as NF4.</summary>
    AsStored,

    /// <summary>4-bit NormalFloat with double quantisation; made while loading where the checkpoint is wider.</summary>
    Nf4,
}

/// <summary>
/// Turns tensors of a checkpoint into weights on a device. Where the device reads host memory, F32, BF16 and NF4 stay in the mapped
/// file, elsewhere they are copied through a few megabytes; nothing exists twice, and no quantised matrix ever exists whole in a wider type.
/// </summary>
internal sealed unsafe class WeightLoader : IDisposable
{
    private const long ChunkElements = 1 << 20; // of fp32 scratch while converting or quantising: 4 MB; a multiple of 64
    private const int StagedElements = 1 << 16; // widened on the host at a time

    private readonly IBackend _backend;
    private readonly TensorFiles _files;
    private readonly List<DeviceBuffer> _buffers = [];
    private Tensor _quantMap;
    private Tensor _nestedMap;
    private float[] _staged = [];
    private long _hostEnd; // bytes of the host block that are taken

    internal WeightLoader(IBackend backend, TensorFiles files) => (_backend, _files) = (backend, files);

    /// <summary>Device bytes this loader allocated; mapped files are not counted.</summary>
    internal long AllocatedBytes { get; private set; }

    /// <summary>Where matrices are put for now, instead of the device.</summary>
    internal DeviceBuffer? HostBlock { get; private set; }

    /// <summary>Matrices from now on, their tables left out, lie one after the other in a block of pinned host memory.</summary>
    internal void IntoHostMemory(long bytes, string purpose)
    {
        HostBlock = _backend.AllocateHost(bytes, purpose);
        _buffers.Add(HostBlock);
        _hostEnd = 0;
    }

    /// <summary>Matrices from now on lie on the device again; gives the block.</summary>
    internal DeviceBuffer EndOfHostMemory()
    {
        DeviceBuffer block = HostBlock ?? throw new InvalidOperationException("no block was begun");
        HostBlock = null;
        return block;
    }

    /// <summary>The most device memory beside its own that a matrix takes while it is loaded.</summary>
    internal static long ScratchBytes(ModuleSpec module)
    {
        long count = module.Rows * module.Columns, rows = Math.Clamp(ChunkElements / module.Columns, 1, module.Rows);
        return Math.Max(rows * module.Columns * 4, Math.Min(count, ChunkElements) * 4 + (count + Nf4Tables.BlockSize - 1) / Nf4Tables.BlockSize * 4 + 64);
    }

    internal static string QuantStateName(string weight) => $"{weight}.quant_state.bitsandbytes__nf4";

    /// <summary>Whether the checkpoint stores this weight as bitsandbytes NF4.</summary>
    internal bool IsNf4(string weight) => _files.Contains(QuantStateName(weight));

    /// <summary>Type of a module's weight in the checkpoint; null when it is NF4.</summary>
    internal static ElementType? StoredAs(TensorFiles files, ModuleSpec module) =>
        files.Contains(QuantStateName(module.WeightName)) ? null : files.Require(module.WeightName).Type;

    /// <summary>Whether a module's NF4 weight is double-quantised in the checkpoint.</summary>
    internal static bool IsNested(TensorFiles files, ModuleSpec module) => files.Contains($"{module.WeightName}.nested_absmax");

    internal bool IsNested(ModuleSpec module) => IsNested(_files, module);

    internal ElementType? StoredAs(ModuleSpec module) => StoredAs(_files, module);

    /// <summary>An fp32 vector: a norm's weight or a bias.</summary>
    internal Tensor Vector(string name, long count)
    {
        TensorEntry entry = Float(_files.Require(name, count));
        Tensor vector = Tensor.Vector(Allocate(count * 4, name), 0, count);
        ReadF32(vector, entry, 0, count);
        return vector;
    }

    /// <summary>Copies a tensor into trained fp32 memory.</summary>
    internal void Into(Tensor destination, ModuleSpec module, string name, params long[] shape)
    {
        if (IsNf4(name))
        {
            (DeviceBuffer? block, HostBlock) = (HostBlock, null);
            WeightMatrix weight = StoredNf4(module);
            HostBlock = block;
            _backend.Dequantize(destination, weight, 0, weight.Rows);
            return;
        }

        TensorEntry entry = Float(_files.Require(name, shape));
        ReadF32(destination, entry, 0, entry.Count);
    }

    /// <summary>A frozen matrix in the planned layout.</summary>
    internal WeightMatrix Matrix(ModuleSpec module, WeightLayout layout)
    {
        string name = module.WeightName;
        if (IsNf4(name)) return StoredNf4(module);
        TensorEntry entry = Float(_files.Require(name, module.Rows, module.Columns));
        return layout.Format == WeightFormat.Nf4 ? Quantise(module, entry) : Wide(module, entry, layout);
    }

    /// <summary>Device memory for a wide matrix, still zero.</summary>
    internal WeightMatrix Empty(ModuleSpec module, WeightLayout layout) => Wide(
        module, layout, new Tensor(Allocate(layout.BytesOf(module), module.WeightName), 0, module.Rows, module.Columns, layout.RowStride, layout.DType));

    private static WeightMatrix Wide(ModuleSpec module, WeightLayout layout, Tensor data) => new()
    {
        Format = layout.Format, Rows = module.Rows, Columns = module.Columns, Data = data, Border = layout.Border,
    };

    private WeightMatrix Wide(ModuleSpec module, TensorEntry entry, WeightLayout layout)
    {
        bool asStored = entry.Type == (layout.DType == DType.BF16 ? ElementType.BF16 : ElementType.F32), contiguous = layout.RowStride == module.Columns;
        if (asStored && contiguous && HostBlock is null && Borrow(entry, layout.DType.Size()) is { } mapped)
            return Wide(module, layout, new Tensor(mapped, 0, module.Rows, module.Columns, module.Columns, layout.DType));
        Tensor memory = Place(layout.BytesOf(module), DType.U8, module.WeightName);
        WeightMatrix weight = Wide(
            module, layout, memory with { Rows = module.Rows, Columns = module.Columns, RowStride = layout.RowStride, DType = layout.DType });
        if (asStored && contiguous) UploadRaw(weight.Data, entry);
        else FillRows(weight.Data, entry);
        return weight;
    }

    /// <summary>Fills a matrix of another type or stride than the file's, some rows at a time.</summary>
    private void FillRows(Tensor destination, TensorEntry entry)
    {
        bool bf16 = entry.Type == ElementType.BF16;
        long columns = destination.Columns, step = Math.Clamp(ChunkElements / columns, 1, destination.Rows);
        using DeviceBuffer scratch = _backend.Allocate(step * columns * 4, "loading weights");
        for (long row = 0; row < destination.Rows; row += step)
        {
            long rows = Math.Min(step, destination.Rows - row);
            var chunk = new Tensor(scratch, 0, rows, columns, columns, bf16 ? DType.BF16 : DType.F32);
            if (bf16)
            {
                byte* source = _files.Address(entry.Name) + row * columns * 2;
                _backend.Upload(chunk, new ReadOnlySpan<byte>(source, checked((int)(rows * columns * 2))));
                SafetensorsFile.Forget(source, rows * columns * 2);
            }
            else ReadF32(chunk, entry, row * columns, rows * columns);
            var part = new WeightMatrix { Format = bf16 ? WeightFormat.BF16 : WeightFormat.F32, Rows = rows, Columns = columns, Data = chunk };
            _backend.Dequantize(destination.RowBlock(row, rows), part, 0, rows);
        }
    }

    private WeightMatrix Quantise(ModuleSpec module, TensorEntry entry)
    {
        long count = module.Rows * module.Columns;
        long blocks = (count + Nf4Tables.BlockSize - 1) / Nf4Tables.BlockSize;
        long nestedBlocks = (blocks + Nf4Tables.NestedBlockSize - 1) / Nf4Tables.NestedBlockSize;
        Tensor codes = Place((count + 1) / 2, DType.U8, entry.Name);
        Tensor absmaxCodes = Place(blocks, DType.U8, entry.Name);
        Tensor nested = Place(nestedBlocks, DType.F32, entry.Name);

        using DeviceBuffer scratch = _backend.Allocate(Math.Min(count, ChunkElements) * 4 + blocks * 4 + 64, "quantising");
        Tensor offset = Tensor.Vector(scratch, 0, 1);
        Tensor absmax = Tensor.Vector(scratch, 64, blocks);
        for (long at = 0; at < count; at += ChunkElements)
        {
            long n = Math.Min(ChunkElements, count - at);
            Tensor chunk = Tensor.Vector(scratch, 64 + blocks * 4, n);
            ReadF32(chunk, entry, at, n);
            _backend.Nf4Quantize(
                codes with { ByteOffset = codes.ByteOffset + at / 2 }, absmax with { ByteOffset = absmax.ByteOffset + at / Nf4Tables.BlockSize * 4 }, chunk, n);
        }

        _backend.Nf4QuantizeAbsmax(absmaxCodes, nested, offset, absmax, NestedMap, blocks);
        Span<float> nestedOffset = stackalloc float[1];
        _backend.Download(nestedOffset, offset);
        return new WeightMatrix
        {
            Format = WeightFormat.Nf4, Rows = module.Rows, Columns = module.Columns, Data = codes, Absmax = absmaxCodes, NestedAbsmax = nested,
            NestedMap = NestedMap, QuantMap = QuantMap, NestedOffset = nestedOffset[0], BlockSize = Nf4Tables.BlockSize,
            NestedBlockSize = Nf4Tables.NestedBlockSize,
        };
    }

    private WeightMatrix StoredNf4(ModuleSpec module)
    {
        string name = module.WeightName;
        Nf4State state = Nf4State.Parse(_files.Bytes(_files.Require(QuantStateName(name)).Name), _files.FileOf(name), name);
        if (!state.Shape.AsSpan().SequenceEqual([module.Rows, module.Columns]))
        {
            throw FineTuneException.Failed(
                $"{_files.FileOf(name)}: quantised tensor '{name}' has shape [{string.Join(", ", state.Shape)}], expected [{module.Rows}, {module.Columns}] from config.json.");
        }

        long count = module.Rows * module.Columns;
        long blocks = (count + state.BlockSize - 1) / state.BlockSize;
        bool nested = state.NestedBlockSize > 0;
        Tensor data = Raw(name, (count + 1) / 2, DType.U8);
        Tensor absmax = Raw($"{name}.absmax", blocks, nested ? DType.U8 : DType.F32);
        return new WeightMatrix
        {
            Format = WeightFormat.Nf4, Rows = module.Rows, Columns = module.Columns, Data = data, Absmax = absmax,
            NestedAbsmax = nested ? Raw($"{name}.nested_absmax", (blocks + state.NestedBlockSize - 1) / state.NestedBlockSize, DType.F32) : default,
            NestedMap = nested ? Raw($"{name}.nested_quant_map", 256, DType.F32, isTable: true) : default,
            QuantMap = Raw($"{name}.quant_map", 16, DType.F32, isTable: true),
            NestedOffset = state.NestedOffset, BlockSize = state.BlockSize, NestedBlockSize = state.NestedBlockSize,
        };
    }

    /// <summary>A stored vector as it is, mapped where possible.</summary>
    private Tensor Raw(string name, long count, DType dtype, bool isTable = false)
    {
        TensorEntry entry = _files.Require(name);
        if (entry.Count * entry.Type.Size() != count * dtype.Size() || (dtype == DType.F32) != (entry.Type == ElementType.F32))
        {
            throw FineTuneException.Failed(
                $"{_files.FileOf(name)}: tensor '{name}' is {entry.Type}{entry.ShapeText}, expected {count} elements of {dtype} as bitsandbytes writes them.");
        }

        if (Borrow(entry, dtype.Size()) is { } mapped) return Tensor.Vector(mapped, 0, count, dtype);
        Tensor copy = isTable ? Tensor.Vector(Allocate(count * dtype.Size(), name), 0, count, dtype) : Place(count, dtype, name);
        UploadRaw(copy, entry);
        return copy;
    }

    private DeviceBuffer? Borrow(TensorEntry entry, int alignment)
    {
        byte* address = _files.Address(entry.Name);
        if ((nint)address % alignment != 0 || entry.ByteCount == 0) return null;
        DeviceBuffer? buffer = _backend.TryBorrow((nint)address, entry.ByteCount);
        if (buffer is not null) _buffers.Add(buffer);
        return buffer;
    }

    private void UploadRaw(Tensor destination, TensorEntry entry)
    {
        for (long at = 0; at < entry.ByteCount; at += ChunkElements)
        {
            int n = (int)Math.Min(ChunkElements, entry.ByteCount - at);
            byte* source = _files.Address(entry.Name) + at;
            _backend.Upload(destination with { ByteOffset = destination.ByteOffset + at }, new ReadOnlySpan<byte>(source, n));
            SafetensorsFile.Forget(source, n);
        }
    }

    /// <summary>Elements [begin, begin + count) of a float tensor as fp32 into contiguous device memory.</summary>
    private void ReadF32(Tensor destination, TensorEntry entry, long begin, long count)
    {
        byte* source = _files.Address(entry.Name) + begin * entry.Type.Size();
        if (entry.Type != ElementType.F32 && _staged.Length < Math.Min(count, StagedElements)) _staged = new float[Math.Min(count, StagedElements)];
        for (long at = 0; at < count; at += StagedElements)
        {
            int n = (int)Math.Min(StagedElements, count - at);
            var bytes = new ReadOnlySpan<byte>(source + at * entry.Type.Size(), n * entry.Type.Size());
            Tensor part = destination with { ByteOffset = destination.ByteOffset + at * 4 };
            if (entry.Type == ElementType.F32)
            {
                _backend.Upload(part, bytes);
                continue;
            }

            FloatConversion.ToF32(_staged.AsSpan(0, n), bytes, entry.Type);
            _backend.Upload<float>(part, _staged.AsSpan(0, n));
        }

        SafetensorsFile.Forget(source, count * entry.Type.Size());
    }

    private TensorEntry Float(TensorEntry entry) => entry.Type is ElementType.F32 or ElementType.BF16 or ElementType.F16 or ElementType.F64
        ? entry
        : throw FineTuneException.Failed(
            $"{_files.FileOf(entry.Name)}: tensor '{entry.Name}' is {entry.Type}, expected F32, BF16 or F16 (or bitsandbytes NF4); use an unquantised or NF4 checkpoint of this model.");

    private Tensor QuantMap => _quantMap.IsNone ? _quantMap = Constant(Nf4Tables.QuantMap, "the NF4 code table") : _quantMap;

    private Tensor NestedMap => _nestedMap.IsNone ? _nestedMap = Constant(Nf4Tables.NestedMap, "the 8-bit code table") : _nestedMap;

    private Tensor Constant(ReadOnlySpan<float> values, string purpose)
    {
        Tensor tensor = Tensor.Vector(Allocate(values.Length * 4, purpose), 0, values.Length);
        _backend.Upload(tensor, values);
        return tensor;
    }

    /// <summary>Memory for a part of a matrix: a buffer of the device, or what comes next of the host block.</summary>
    private Tensor Place(long count, DType dtype, string purpose)
    {
        long bytes = count * dtype.Size();
        if (HostBlock is null) return Tensor.Vector(Allocate(bytes, purpose), 0, count, dtype);
        long at = _hostEnd;
        _hostEnd += (bytes + LayerRing.Alignment - 1) / LayerRing.Alignment * LayerRing.Alignment;
        if (at + bytes > HostBlock.SizeBytes) throw new InvalidOperationException($"{purpose} does not fit into its layer's {HostBlock.SizeBytes} bytes");
        return Tensor.Vector(HostBlock, at, count, dtype);
    }

    private DeviceBuffer Allocate(long bytes, string purpose)
    {
        DeviceBuffer buffer = _backend.Allocate(bytes, purpose);
        AllocatedBytes += bytes;
        _buffers.Add(buffer);
        return buffer;
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers) buffer.Dispose();
        _files.Dispose();
    }
}
