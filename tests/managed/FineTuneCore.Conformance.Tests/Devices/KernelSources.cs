using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using FineTuneCore.Ilgpu;
using FineTuneCore.Ilgpu.Kernels;
using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;

namespace FineTuneCore.Conformance.Tests.Devices;

/// <summary>A kernel as OpenCL C.</summary>
/// <param name="Name">With its type arguments.</param>
/// <param name="Source">What a driver's compiler gets.</param>
/// <param name="SharedBytes">Local memory of a group.</param>
internal sealed record KernelSource(string Name, string Source, int SharedBytes);

/// <summary>
/// All kernels of the backend as OpenCL C for a device that has nothing beyond a generic address space: no fp64, no fp16, no subgroups, no 64-bit atomics.
/// Made by ILGPU alone, on a machine with or without OpenCL.
/// </summary>
internal static partial class KernelSources
{
    private static readonly Type[] Storage = [typeof(float), typeof(ushort)];
    private static readonly Type[] Types = typeof(MatmulKernels).Assembly.GetTypes();

    /// <summary>
    /// Every kernel with every combination of its type arguments; of a product's operands one at a time is other than a plain fp32 matrix, and fp16 is only
    /// converted.
    /// </summary>
    internal static IEnumerable<KernelSource> All()
    {
        using Context context = Context.Create(Intrinsics.Register);
        using CLBackend compiler = Compiler(context);
        foreach (MethodInfo kernel in Types.Where(t => t.Name.EndsWith("Kernels", StringComparison.Ordinal)).SelectMany(KernelsOf))
        {
            string arguments = string.Join(", ", kernel.GetGenericArguments().Select(a => a.ToString().Replace(typeof(MatmulKernels).Namespace + ".", "", StringComparison.Ordinal)));
            string source = KernelLauncher.Compile(kernel, compiler).Source;
            yield return new KernelSource($"{kernel.DeclaringType!.Name}.{kernel.Name}<{arguments}>", source, SharedBytes(source));
        }
    }

    /// <summary>One kernel's, from a compiler of its own.</summary>
    internal static string Of(Delegate kernel)
    {
        using Context context = Context.Create(Intrinsics.Register);
        using CLBackend compiler = Compiler(context);
        return KernelLauncher.Compile(kernel.Method, compiler).Source;
    }

    private static CLBackend Compiler(Context context)
    {
        var bare = new CLCapabilityContext(false, false, true, false, false);
        if (!bare.GenericAddressSpace) throw new InvalidOperationException("ILGPU takes a device's capabilities in another order");
        return new CLBackend(context, bare, CLDeviceVendor.Other, new CLCVersion(2, 0));
    }

    private static int SharedBytes(string source) =>
        LocalArray().Matches(source).Sum(m => int.Parse(m.Groups["count"].Value, CultureInfo.InvariantCulture) * (m.Groups["type"].Value is "float" or "int" or "uint" ? 4 : 8));

    [GeneratedRegex(@"\blocal (?<type>\w+) \w+\[(?<count>\d+)\];")]
    private static partial Regex LocalArray();

    private static IEnumerable<MethodInfo> KernelsOf(Type type) =>
        type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly).Where(m => m.ReturnType == typeof(void)).SelectMany(m =>
            m.IsGenericMethodDefinition ? Closed(m.GetGenericArguments()).Where(a => a.Count(IsSpecial) <= 1 && (m.Name == nameof(ElementwiseKernels.Convert) || !a.Any(IsF16))).Select(a => m.MakeGenericMethod(a)) : [m]);

    /// <summary>Whether an operand is more than a plain fp32 matrix.</summary>
    private static bool IsSpecial(Type argument) => typeof(IOperand).IsAssignableFrom(argument) && argument != typeof(Dense<float, F32Element>);

    private static bool IsF16(Type argument) => argument == typeof(F16Element) || argument.GetGenericArguments().Contains(typeof(F16Element));

    /// <summary>All type arguments that parameters may have, a storage type before the elements that lie in it.</summary>
    private static IEnumerable<Type[]> Closed(Type[] parameters)
    {
        IEnumerable<Type[]> found = [[]];
        foreach (Type parameter in parameters)
        {
            Type[] constraints = [.. parameter.GetGenericParameterConstraints().Where(c => c.IsInterface)];
            found = found.SelectMany(
                _ => constraints.Length == 0 ? Storage : [.. Candidates(constraints[0])],
                (before, next) => (Type[])[.. before, next]).Where(a => Fits(a[^1], constraints, parameters, a));
        }

        return found;
    }

    private static bool Fits(Type candidate, Type[] constraints, Type[] parameters, Type[] arguments) => constraints.All(c =>
    {
        Type wanted = c.ContainsGenericParameters
            ? c.GetGenericTypeDefinition().MakeGenericType([.. c.GetGenericArguments().Select(a => a.IsGenericParameter ? arguments[Array.IndexOf(parameters, a)] : a)])
            : c;
        return wanted.IsAssignableFrom(candidate);
    });

    private static IEnumerable<Type> Candidates(Type constraint) =>
        Types.Where(t => t.IsValueType && t.Namespace == constraint.Namespace && t.GetInterfaces().Any(i => i.Name == constraint.Name))
            .SelectMany(t => t.IsGenericTypeDefinition ? Closed(t.GetGenericArguments()).Select(a => t.MakeGenericType(a)) : [t]);
}
