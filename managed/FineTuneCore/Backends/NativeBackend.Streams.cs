using FineTuneCore.Native;
using FineTuneCore.Tensors;

namespace FineTuneCore.Backends;

/// <summary>Streams beside the backend's own, and the events that order them.</summary>
internal sealed partial class NativeBackend
{
    private readonly BackgroundStream?[] _background = new BackgroundStream?[Enum.GetValues<BackgroundWork>().Length];

    public bool HasBackground => !ReadsHostMemory;

    public IBackgroundStream Background(BackgroundWork work, int sharePercent = 100)
    {
        if (_background[(int)work] is { } known) return known;
        NativeMethods.ftc_stream_create_background(out StreamHandle stream, _context, sharePercent).ThrowIfFailed();
        return _background[(int)work] = new BackgroundStream(stream);
    }

    public DeviceEvent CreateEvent()
    {
        NativeMethods.ftc_event_create(out EventHandle handle, _context).ThrowIfFailed();
        return new Event(handle);
    }

    public void Record(DeviceEvent point) => NativeMethods.ftc_event_record(((Event)point).Handle, _stream).ThrowIfFailed();

    public void Wait(DeviceEvent point) => NativeMethods.ftc_stream_wait_event(_stream, ((Event)point).Handle).ThrowIfFailed();

    private sealed class Event(EventHandle handle) : DeviceEvent
    {
        internal EventHandle Handle => handle;

        protected override void Dispose(bool disposing)
        {
            if (disposing) handle.Dispose();
        }
    }

    private sealed class BackgroundStream(StreamHandle stream) : IBackgroundStream, IDisposable
    {
        public void Upload(Tensor destination, Tensor pinned)
        {
            Check(destination, Bytes(pinned));
            NativeMethods.ftc_copy_from_host(stream, Address(destination), Address(pinned), Bytes(pinned)).ThrowIfFailed();
        }

        public void Dequantize(Tensor y, WeightMatrix weight)
        {
            Weight native = Native(weight);
            NativeMethods.ftc_weight_dequantize(stream, Address(y), (int)y.DType, y.RowStride, in native, 0, weight.Rows).ThrowIfFailed();
        }

        public void Record(DeviceEvent point) => NativeMethods.ftc_event_record(((Event)point).Handle, stream).ThrowIfFailed();

        public void Wait(DeviceEvent point) => NativeMethods.ftc_stream_wait_event(stream, ((Event)point).Handle).ThrowIfFailed();

        public void Dispose() => stream.Dispose();
    }
}
