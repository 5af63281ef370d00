using System.Diagnostics;
using System.Reflection;
using FineTuneCore.Native;
using ILGPU;
using ILGPU.Runtime;

namespace FineTuneCore.Ilgpu;

/// <summary>Compiles kernels at their first launch and keeps them; what a driver's compiler says about a failure goes into the exception.</summary>
internal sealed class KernelLauncher(Accelerator accelerator)
{
    private readonly Dictionary<Delegate, Delegate> _byDelegate = new(ReferenceEqualityComparer.Instance); // static method groups are cached: one look-up by reference
    private readonly Dictionary<MethodInfo, Delegate> _byMethod = [];

    internal void Run<T>(Action<T> kernel, KernelConfig config, T arguments)
        where T : struct
    {
        try
        {
            if (!_byDelegate.TryGetValue(kernel, out Delegate? launcher)) launcher = Add(kernel, () => accelerator.LoadStreamKernel(kernel));
            ((Action<KernelConfig, T>)launcher)(config, arguments);
        }
        catch (Exception e) when (e is not FtcException)
        {
            throw Failed(kernel.Method, e);
        }
    }

    internal void Run<T1, T2>(Action<T1, T2> kernel, KernelConfig config, T1 first, T2 second)
        where T1 : struct
        where T2 : struct
    {
        try
        {
            if (!_byDelegate.TryGetValue(kernel, out Delegate? launcher)) launcher = Add(kernel, () => accelerator.LoadStreamKernel(kernel));
            ((Action<KernelConfig, T1, T2>)launcher)(config, first, second);
        }
        catch (Exception e) when (e is not FtcException)
        {
            throw Failed(kernel.Method, e);
        }
    }

    internal void Run<T1, T2, T3>(Action<T1, T2, T3> kernel, KernelConfig config, T1 first, T2 second, T3 third)
        where T1 : struct
        where T2 : struct
        where T3 : struct
    {
        try
        {
            if (!_byDelegate.TryGetValue(kernel, out Delegate? launcher)) launcher = Add(kernel, () => accelerator.LoadStreamKernel(kernel));
            ((Action<KernelConfig, T1, T2, T3>)launcher)(config, first, second, third);
        }
        catch (Exception e) when (e is not FtcException)
        {
            throw Failed(kernel.Method, e);
        }
    }

    private Delegate Add(Delegate kernel, Func<Delegate> load)
    {
        if (!_byMethod.TryGetValue(kernel.Method, out Delegate? launcher)) _byMethod[kernel.Method] = launcher = load();
        return _byDelegate[kernel] = launcher;
    }

    private static FtcException Failed(MethodInfo kernel, Exception e)
    {
        string log = CompilerLog.Take();
        return new FtcException(
            FtcStatus.Device, $"OpenCL kernel {kernel.Name}: {e.GetType().Name}: {e.Message}{(log.Length > 0 ? $" The driver's compiler says: {log}" : "")}");
    }

    /// <summary>ILGPU's exceptions about failed builds are empty; the log goes to <see cref="Trace"/>.</summary>
    private sealed class CompilerLog : TraceListener
    {
        private const int Most = 4000;
        private static readonly CompilerLog Instance = new();
        private readonly System.Text.StringBuilder _text = new();

        static CompilerLog() => Trace.Listeners.Add(Instance);

        internal static void Begin()
        {
        }

        internal static string Take()
        {
            lock (Instance._text)
            {
                string text = Instance._text.ToString().Trim();
                Instance._text.Clear();
                return text;
            }
        }

        public override void Write(string? message)
        {
            lock (_text)
            {
                if (_text.Length < Most) _text.Append(message);
            }
        }

        public override void WriteLine(string? message) => Write(message + "\n");
    }

    static KernelLauncher() => CompilerLog.Begin();
}
