namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>A group of products and of attention is a square of threads; this is its side. A device's groups decide which one is compiled.</summary>
internal interface ISide
{
    int Threads { get; }
}

/// <summary>256 threads: of GPUs as they are.</summary>
internal struct Wide : ISide
{
    public readonly int Threads => 16;
}

/// <summary>64 threads and less than half of the local memory, for devices that have no more.</summary>
internal struct Narrow : ISide
{
    public readonly int Threads => 8;
}
