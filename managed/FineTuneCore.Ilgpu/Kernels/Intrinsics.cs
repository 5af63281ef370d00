using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace FineTuneCore.Ilgpu.Kernels;

/// <summary>What ILGPU lacks on OpenCL. The managed bodies serve the CPU accelerator.</summary>
internal static class Intrinsics
{
    /// <summary>a · b + c, rounded once.</summary>
    [IntrinsicImplementation]
    public static float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    /// <summary>
    /// Waits for the group's threads; then each sees what the others wrote to local and to global memory. ILGPU's own barrier names global memory alone, and
    /// a driver may then let writes to local memory arrive later.
    /// </summary>
    [IntrinsicImplementation]
    public static void Barrier() => Group.Barrier();

    /// <summary>To be called for every context that makes kernels.</summary>
    internal static void Register(Context.Builder builder)
    {
        Register(builder, nameof(Fma), nameof(WriteFma));
        Register(builder, nameof(Barrier), nameof(WriteBarrier));
    }

    /// <summary>Called by ILGPU's OpenCL code generator.</summary>
    public static void WriteFma(CLBackend backend, CLCodeGenerator generator, Value value)
    {
        _ = backend;
        var target = generator.Allocate(value);
        using CLCodeGenerator.StatementEmitter statement = generator.BeginStatement(target);
        statement.AppendCommand("fma");
        statement.BeginArguments();
        for (int i = 0; i < value.Count; i++) statement.AppendArgument(generator.Load(value[i]));
        statement.EndArguments();
    }

    /// <summary>Called by ILGPU's OpenCL code generator.</summary>
    public static void WriteBarrier(CLBackend backend, CLCodeGenerator generator, Value value)
    {
        _ = (backend, value);
        using CLCodeGenerator.StatementEmitter statement = generator.BeginStatement("work_group_barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)");
    }

    private static void Register(Context.Builder builder, string method, string writer) => builder.GetIntrinsicManager().RegisterMethod(
        typeof(Intrinsics).GetMethod(method)!, new CLIntrinsic(typeof(Intrinsics), writer, IntrinsicImplementationMode.GenerateCode));
}
