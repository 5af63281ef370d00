using System.Diagnostics;
using System.Reflection;
using System.Text.RegularExpressions;
using FineTuneCore.Ilgpu.Kernels;
using FineTuneCore.Native;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;

namespace FineTuneCore.Ilgpu;

/// <summary>Compiles kernels at their first launch and keeps them; what a driver's compiler says about a failure goes into the exception.</summary>
internal sealed partial class KernelLauncher(Accelerator accelerator)
{
    private readonly Dictionary<Delegate, Delegate> _byDelegate = new(ReferenceEqualityComparer.Instance); // static method groups are cached: one look-up by reference
    private readonly Dictionary<MethodInfo, Delegate> _byMethod = [];

    static KernelLauncher() => CompilerLog.Begin();

    internal void Run<T>(Action<T> kernel, KernelConfig config, T arguments)
        where T : struct
    {
        try
        {
            Launcher<Action<AcceleratorStream, KernelConfig, T>>(kernel)(accelerator.DefaultStream, config, arguments);
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
            Launcher<Action<AcceleratorStream, KernelConfig, T1, T2>>(kernel)(accelerator.DefaultStream, config, first, second);
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
            Launcher<Action<AcceleratorStream, KernelConfig, T1, T2, T3>>(kernel)(accelerator.DefaultStream, config, first, second, third);
        }
        catch (Exception e) when (e is not FtcException)
        {
            throw Failed(kernel.Method, e);
        }
    }

    private TLauncher Launcher<TLauncher>(Delegate kernel)
        where TLauncher : Delegate
    {
        if (_byDelegate.TryGetValue(kernel, out Delegate? launcher)) return (TLauncher)launcher;
        if (!_byMethod.TryGetValue(kernel.Method, out launcher)) _byMethod[kernel.Method] = launcher = Load(kernel.Method).CreateLauncherDelegate<TLauncher>();
        _byDelegate[kernel] = launcher;
        return (TLauncher)launcher;
    }

    /// <summary>A compiler of its own for every kernel: its text is then the same in every run, and a driver that keeps compiled programs knows it again.</summary>
    private Kernel Load(MethodInfo kernel)
    {
        if (accelerator is not CLAccelerator cl) return accelerator.LoadKernel(accelerator.CompileKernel(EntryPointDescription.FromExplicitlyGroupedKernel(kernel)));
        using Context context = Context.Create(Intrinsics.Register);
        using var compiler = new CLBackend(context, cl.Capabilities, cl.Vendor, cl.CLStdVersion);
        return accelerator.LoadKernel(Compile(kernel, compiler));
    }

    /// <summary>A kernel as OpenCL C.</summary>
    internal static CLCompiledKernel Compile(MethodInfo kernel, CLBackend compiler) =>
        Renumbered((CLCompiledKernel)compiler.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(kernel), KernelSpecialization.Empty));

    /// <summary>ILGPU numbers types and labels through all that a process compiles; here they count from 0.</summary>
    private static CLCompiledKernel Renumbered(CLCompiledKernel kernel)
    {
        var numbers = new Dictionary<string, int>();
        string source = Numbered().Replace(kernel.Source, name =>
        {
            if (!numbers.TryGetValue(name.Value, out int number)) numbers[name.Value] = number = numbers.Count;
            return $"{name.Groups["kind"].Value}_{number}";
        });
        var entryPoint = (SeparateViewEntryPoint)typeof(CompiledKernel).GetProperty("EntryPoint", BindingFlags.Instance | BindingFlags.NonPublic)!.GetValue(kernel)!;
        return new CLCompiledKernel(kernel.Context, entryPoint, kernel.Info, source, kernel.CVersion);
    }

    [GeneratedRegex(@"\b(?<kind>type|L)_\d+")]
    private static partial Regex Numbered();

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
}
